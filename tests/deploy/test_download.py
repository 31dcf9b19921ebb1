"""The script that downloads the model file in a pod, by the curl of this machine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.file_server import Answer, FileServer, file_server
from tests.support.requirements import need
from tools.facts.paths import CHART

SCRIPT = (CHART / "files" / "download.sh").read_text()
MODEL = b"a model" * 10_000


@pytest.fixture
def curl(pytestconfig: pytest.Config) -> None:
    need(pytestconfig, "curl", available=shutil.which("curl") is not None, why="it is not on PATH")


def download(server: FileServer, file: Path) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": "/usr/bin:/bin",
        "URL": f"{server.url}/model.gguf",
        "SHA256": hashlib.sha256(MODEL).hexdigest(),
        "FILE": str(file),
    }
    return subprocess.run(
        ["sh", "-c", SCRIPT], env=variables, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_pinned_file_is_kept_for_everybody_to_read(curl: None, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    with file_server() as server:
        server.put("/elsewhere", Answer(MODEL))
        redirect = Answer(status=302, headers={"Location": f"{server.url}/elsewhere"})
        server.put("/model.gguf", redirect)
        answer = download(server, file)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert file.read_bytes() == MODEL
    assert file.stat().st_mode & 0o777 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_another_file_is_not_kept(curl: None, tmp_path: Path) -> None:
    with file_server() as server:
        server.put("/model.gguf", Answer(b"not the model"))
        answer = download(server, tmp_path / "model.gguf")
    assert answer.returncode == 1
    assert "is not the pinned file" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_fetched_again_unless_it_is_broken(curl: None, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(MODEL)
    with file_server() as server:
        server.put("/model.gguf", Answer(MODEL))
        assert download(server, file).returncode == 0
        assert server.requests == []
        file.write_bytes(MODEL[:-1])
        assert download(server, file).returncode == 0
    assert len(server.requests) == 1
    assert file.read_bytes() == MODEL


def test_a_refusal_is_an_error(curl: None, tmp_path: Path) -> None:
    with file_server() as server:
        server.put("/model.gguf", Answer(b"no", status=404))
        answer = download(server, tmp_path / "model.gguf")
    assert answer.returncode != 0
    assert "404" in answer.stderr
