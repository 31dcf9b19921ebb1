"""The patched source, once for all kernels; needs a C++ compiler and llama.cpp's source."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.kernels import patched_source
from tests.support.requirements import need


@pytest.fixture(scope="package")
def source(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    for tool in ("g++", "patch"):
        why = f"there is no {tool}"
        need(pytestconfig, "compiler", available=shutil.which(tool) is not None, why=why)
    return patched_source(tmp_path_factory.mktemp("kernels"))
