"""Without a GPU: the cuda image says that it serves on the CPU, or refuses to."""

from __future__ import annotations

import pytest

from tests.support.client import Client
from tests.support.containers import (
    base_url,
    is_bare,
    is_cuda,
    started,
    wait_for_end,
    wait_for_health,
    with_model,
)
from tests.support.requirements import need
from tools.engine.docker import run_docker
from tools.facts.models import load_models
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

NO_GPU = "no GPU can be used"


@pytest.fixture(scope="module")
def patched(image: str, pytestconfig: pytest.Config) -> str:
    """The image under test, which must have our patches."""
    need(pytestconfig, "patches", available=not is_bare(image), why="built with --no-patches")
    return image


def options(**variables: str) -> list[str]:
    """Options of a container that gets no GPU, even where the host gives them to all."""
    file = ensure_synthetic(models_dir(), load_models().models["nano"], "tiny", "Q8_0")
    variables["NVIDIA_VISIBLE_DEVICES"] = "void"
    pairs = [f"{name}={value}" for name, value in variables.items()]
    return [*with_model(file), *(word for pair in pairs for word in ("--env", pair))]


def complaints(container: str) -> list[str]:
    """The lines on the container's stderr about a missing GPU."""
    said = run_docker(["logs", container], timeout=60).stderr
    return [line for line in said.splitlines() if NO_GPU in line]


def test_the_cuda_image_serves_on_the_cpu_and_says_so_once(patched: str) -> None:
    """The cpu image has nothing to say about it."""
    with started(patched, options=options()) as container:
        wait_for_health(container, "healthy")
        with Client(base_url(container)) as client:
            assert client.embed(["a text"]).shape == (1, 768)
        found = complaints(container)
    assert len(found) == (1 if is_cuda(patched) else 0), found
    assert all("serving on the CPU" in line for line in found)


def test_a_gpu_that_is_required_and_missing_ends_the_server(patched: str) -> None:
    with started(patched, options=options(JINA_REQUIRE_GPU="1")) as container:
        assert wait_for_end(container) == 1
        (line,) = complaints(container)
    assert "JINA_REQUIRE_GPU is 1" in line


def test_a_server_told_that_it_may_use_the_cpu_does_and_says_so(patched: str) -> None:
    with started(patched, options=options(JINA_REQUIRE_GPU="0")) as container:
        wait_for_health(container, "healthy")
        assert len(complaints(container)) == 1


@pytest.mark.parametrize("value", ["yes", "2"])
def test_another_value_ends_the_server_and_is_named(patched: str, value: str) -> None:
    with started(patched, options=options(JINA_REQUIRE_GPU=value)) as container:
        assert wait_for_end(container) == 1
        said = run_docker(["logs", container], timeout=60).stderr
    assert f"JINA_REQUIRE_GPU: '{value}' is neither 0 nor 1" in said
