"""Tests never skip in silence: ``--require docker,gpu`` turns a skip for that into a failure."""

from __future__ import annotations

import pytest


def required(config: pytest.Config) -> set[str]:
    """Return the names given to ``--require``, a list separated by commas."""
    return {name.strip() for name in (config.getoption("--require") or "").split(",")} - {""}


def need(config: pytest.Config, name: str, *, available: bool, why: str) -> None:
    """Skip the test unless ``name`` is available; fail it where ``--require`` lists ``name``."""
    if available:
        return
    if name in required(config):
        pytest.fail(f"--require {name}: {why}", pytrace=False)
    pytest.skip(f"needs {name}: {why}")
