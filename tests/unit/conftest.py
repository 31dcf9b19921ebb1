"""What unit tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a docker on PATH that is a script; it may use its arguments."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    def write(script: str) -> None:
        file = tmp_path / "docker"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return write
