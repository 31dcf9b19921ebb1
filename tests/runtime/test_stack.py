"""The stack: what a person is told when a profile does not come up, and that it is tidied up."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from tests.support.containers import docker, inspect
from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.facts.models import load_models
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

NANO = load_models().models["nano"]


@pytest.fixture(scope="module")
def tiny() -> Path:
    return ensure_synthetic(models_dir(), NANO, "tiny", "Q8_0")


def containers() -> set[str]:
    """The ids of all containers, running or not."""
    return set(docker("ps", "--all", "--quiet", "--no-trunc").split())


def containers_on(folder: Path) -> list[str]:
    """All containers, running or not, that have something of ``folder`` mounted."""
    listed = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}")
    return [line for line in listed.splitlines() if str(folder) in line]


@pytest.fixture(autouse=True)
def nothing_is_left_behind(engine: None, tmp_path_factory: pytest.TempPathFactory) -> object:
    yield
    # This worker's own folder: the stacks of others come and go meanwhile.
    assert containers_on(tmp_path_factory.getbasetemp()) == []


def test_a_server_that_dies_is_reported_at_once_with_its_log(image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "garbage.gguf"
    file.write_bytes(b"not a GGUF file" * 1000)
    file.chmod(0o644)
    with (
        pytest.raises(ToolError, match="ended before it was healthy") as fault,
        booted(NANO, file, image=image, synthetic=True),
    ):
        pytest.fail("it came up")
    assert "invalid magic" in str(fault.value)


def test_a_port_that_is_taken_is_named_with_what_to_do(
    image: str, tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / tiny.name
    file.write_bytes(tiny.read_bytes())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with (
            pytest.raises(ToolError, match=rf"port {port} is taken.*JINA_PORT"),
            booted(NANO, file, image=image, synthetic=True, variables={"JINA_PORT": port}),
        ):
            pytest.fail("it came up")


def test_an_image_that_is_not_there_is_said(tiny: Path, engine: None) -> None:
    with (
        pytest.raises(ToolError, match="`nox -s build` makes it"),
        booted(NANO, tiny, image="jina-embeddings-v5:nowhere", synthetic=True),
    ):
        pytest.fail("it came up")


def test_a_folder_that_is_not_there_is_named(image: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ToolError, match="nowhere"),
        booted(NANO, tmp_path / "nowhere" / "x.gguf", image=image, synthetic=True),
    ):
        pytest.fail("it came up")
    assert not (tmp_path / "nowhere").exists()


def test_an_engine_that_does_not_answer_is_said(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, engine: None
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        with (
            pytest.raises(ToolError, match="nox -s engine"),
            booted(NANO, tiny, image="any", synthetic=True),
        ):
            pytest.fail("it came up")


def test_the_name_says_that_weights_are_synthetic_and_the_end_tidies_up(
    image: str, tiny: Path
) -> None:
    with booted(NANO, tiny, image=image, synthetic=True) as running:
        name = httpx.get(f"{running.base_url}/v1/models", trust_env=False).json()["data"][0]["id"]
        assert name == "jina-embeddings-v5-text-nano-synthetic"
    assert running.container_id not in containers()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.base_url}/health", trust_env=False)


def test_a_failing_test_does_not_leave_its_stack(image: str, tiny: Path) -> None:
    with pytest.raises(KeyboardInterrupt), booted(NANO, tiny, image=image, synthetic=True) as it:
        raise KeyboardInterrupt
    assert it.container_id not in containers()


def test_stopping_what_is_not_there_does_nothing(engine: None) -> None:
    Compose(project="jina-embeddings-v5-nobody").down()


def test_keep_leaves_it_running(image: str, tiny: Path) -> None:
    with booted(NANO, tiny, image=image, synthetic=True, keep=True) as running:
        pass
    labels = inspect(running.container_id)["Config"]["Labels"]
    try:
        assert httpx.get(f"{running.base_url}/health", trust_env=False).status_code == 200
    finally:
        Compose(project=labels["com.docker.compose.project"]).down()
