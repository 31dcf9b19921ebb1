"""Machines as people have them: no home, nothing to write to, umask 077. One sentence each."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tools.common.cache import cache_dir, locked
from tools.common.errors import ToolError
from tools.common.files import expanded, let_the_server_read, temporary_folder
from tools.facts.models import load_models
from tools.registry.auth import stored_credentials
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

NANO = load_models().models["nano"]
#: A user without a passwd entry.
NOBODY = 54_321


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE", "JINA_CACHE_DIR", "XDG_CACHE_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_cache_wants_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match="set JINA_CACHE_DIR"):
        cache_dir()
    monkeypatch.setenv("JINA_CACHE_DIR", str(tmp_path))
    assert cache_dir() == tmp_path


@pytest.mark.usefixtures("homeless")
def test_a_folder_in_a_home_that_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_MODELS_DIR", "~/models")
    with pytest.raises(ToolError, match="~/models: the home folder is not known; set HOME"):
        models_dir()
    with pytest.raises(ToolError, match="home folder is not known"):
        stored_credentials("ghcr.io")
    assert expanded("/else/where") == Path("/else/where")


def test_a_cache_that_cannot_be_written_to_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file stands where the folder should be: that stops root, too."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("JINA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with (
        pytest.raises(ToolError, match=r"cannot write to the cache folder .*set JINA_CACHE_DIR"),
        locked("something"),
    ):
        pytest.fail("it was locked")


def test_a_temporary_folder_that_cannot_be_made_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match="set TMPDIR"), temporary_folder():
        pytest.fail("there was one")


def test_a_temporary_folder_is_gone_afterwards() -> None:
    with temporary_folder("jina-test-") as folder:
        assert folder.is_dir()
    assert not folder.exists()


def others_may(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o007


def test_the_server_can_read_what_was_made_with_umask_077(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        file = ensure_synthetic(tmp_path / "models", NANO, "tiny", "Q8_0")
    finally:
        os.umask(old)
    assert others_may(file) & 0o004
    assert others_may(file.parent) & 0o001


def test_a_file_of_somebody_else_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    file = tmp_path / "model.gguf"
    file.touch(0o600)
    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(ToolError, match="chmod a"):
        let_the_server_read(file)
