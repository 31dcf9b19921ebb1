"""What `nox -s up` puts together; that it serves is seen with the image in tests/runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.facts.images import Image
from tools.facts.models import Model
from tools.facts.paths import COMPOSE_FILE, CUDA_COMPOSE_FILE
from tools.serving import options
from tools.serving import up as serve
from tools.serving.profile import Running


class Tools:
    """Stands in for what downloads, builds and boots; remembers what it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.compose = Compose()
        self.fails = False
        monkeypatch.delenv("JINA_IMAGE", raising=False)
        for name in ("ensure_engine", "fetch_from_hub", "build_image"):
            monkeypatch.setattr(options, name, getattr(self, name))
        monkeypatch.setattr(serve, "up", self.up)
        monkeypatch.setattr(Compose, "down", self.down)

    def ensure_engine(self) -> None:
        self.done.append("engine")

    def fetch_from_hub(self, *_: object) -> Path:
        self.done.append("model")
        return Path("/models/a-model.gguf")

    def build_image(self, _images: object, image: Image, _choice: object, **_: object) -> str:
        self.done.append("build")
        return f"built:{image.name}"

    def up(self, compose: Compose, _model: Model) -> Running:
        self.done.append("up")
        self.compose = compose
        if self.fails:
            raise ToolError("it did not start")
        return Running("http://127.0.0.1:8080", "an id")

    def down(self) -> None:
        self.done.append("down")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    return Tools(monkeypatch)


@pytest.mark.parametrize(
    ("given", "image", "files"),
    [
        ([], "built:cpu", [COMPOSE_FILE]),
        (["--gpu"], "built:cuda", [COMPOSE_FILE, CUDA_COMPOSE_FILE]),
    ],
    ids=["cpu", "gpu"],
)
def test_the_image_and_the_compose_files_belong_together(
    tools: Tools, given: list[str], image: str, files: list[Path]
) -> None:
    serve.main(["up", "nano", *given])
    assert tools.done == ["model", "engine", "build", "up"]
    assert (tools.compose.environment or {})["JINA_IMAGE"] == image
    assert (tools.compose.profile, tools.compose.files) == ("nano", tuple(files))


def test_an_image_of_the_persons_own_is_not_built_but_needs_an_engine(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_IMAGE", "of-mine:1")
    serve.main(["up", "small", "--gpu"])
    assert tools.done == ["model", "engine", "up"]
    assert (tools.compose.environment or {})["JINA_IMAGE"] == "of-mine:1"


def test_what_did_not_start_is_removed(tools: Tools) -> None:
    tools.fails = True
    with pytest.raises(ToolError, match="it did not start"):
        serve.main(["up", "nano", "--gpu"])
    assert tools.done[-1] == "down"


def test_down_removes_the_project_whatever_it_was_made_of(
    tools: Tools, docker: Callable[[str], None]
) -> None:
    """Compose finds containers by the project's name, so cuda.yaml need not be named again."""
    docker("exit 0")
    serve.main(["down"])
    assert tools.done == ["down"]


def test_down_does_nothing_where_no_engine_runs(
    tools: Tools, docker: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    docker(f"echo '{serve._NOBODY_LISTENS}' >&2; exit 1")
    serve.main(["down"])
    assert tools.done == []
    assert "no Docker Engine runs here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at "
            "unix:///var/run/docker.sock: dial unix /var/run/docker.sock: permission denied",
            "you may not use the Docker Engine: run this as root",
        ),
        (
            "permission denied while trying to connect to the docker API at "
            "unix:///var/run/docker.sock",
            "you may not use the Docker Engine: run this as root",
        ),
        (
            "Cannot connect to the Docker daemon at tcp://nowhere:1. Is the docker daemon running?",
            "no Docker Engine answers at DOCKER_HOST",
        ),
        ("error during connect: lookup nowhere", "no Docker Engine answers at DOCKER_HOST"),
        ("something else", "does not say whether a server runs: something else"),
    ],
)
def test_an_engine_that_may_run_and_does_not_answer_is_an_error(
    tools: Tools,
    docker: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    meant: str,
) -> None:
    """Before, `down` said that nothing ran, and succeeded."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://nowhere:1")
    docker(f"echo '{said}' >&2; exit 1")
    with pytest.raises(ToolError, match=meant):
        serve.main(["down"])
    assert tools.done == []
