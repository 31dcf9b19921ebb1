"""What `nox -s up` puts together; that it serves is seen with the image in tests/runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tools.common.errors import ToolError
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
        self.client: dict[str, Any] = {}
        self.environment: Mapping[str, str] = {}
        self.fails = False
        monkeypatch.delenv("JINA_IMAGE", raising=False)
        for name in ("ensure_engine", "fetch_model", "build_image"):
            monkeypatch.setattr(options, name, getattr(self, name))
        for name in ("docker_client", "up", "down"):
            monkeypatch.setattr(serve, name, getattr(self, name))

    def ensure_engine(self) -> None:
        self.done.append("engine")

    def fetch_model(self, *_: object) -> Path:
        self.done.append("model")
        return Path("/models/a-model.gguf")

    def build_image(self, _images: object, image: Image, _choice: object, **_: object) -> str:
        self.done.append("build")
        return f"built:{image.name}"

    def docker_client(self, **options: object) -> str:
        self.client = options
        return "a client"

    def up(self, _client: str, _model: Model, environment: Mapping[str, str]) -> Running:
        self.done.append("up")
        self.environment = environment
        if self.fails:
            raise ToolError("it did not start")
        return Running("http://127.0.0.1:8080", "an id")

    def down(self, client: str) -> None:
        assert client == "a client"
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
    assert tools.environment["JINA_IMAGE"] == image
    assert tools.client == {"profile": "nano", "compose_files": files}


def test_an_image_of_the_persons_own_is_not_built_but_needs_an_engine(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_IMAGE", "of-mine:1")
    serve.main(["up", "small", "--gpu"])
    assert tools.done == ["model", "engine", "up"]
    assert tools.environment["JINA_IMAGE"] == "of-mine:1"


def test_what_did_not_start_is_removed(tools: Tools) -> None:
    tools.fails = True
    with pytest.raises(ToolError, match="it did not start"):
        serve.main(["up", "nano", "--gpu"])
    assert tools.done[-1] == "down"


def test_down_removes_the_project_whatever_it_was_made_of(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compose finds containers by the project's name, so cuda.yaml need not be named again."""
    monkeypatch.setattr(serve, "probe", lambda: type("Answer", (), {"server": "26.1"}))
    serve.main(["down"])
    assert tools.done == ["down"]
    assert tools.client == {}
