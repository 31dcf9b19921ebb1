"""A registry, and images to publish there: the real one, under labels that each test chooses."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.containers import docker
from tests.support.gate import Gate, gate
from tests.support.registry import LocalRegistry, local_registry, registry_program
from tests.support.requirements import need
from tools.common.errors import ToolError
from tools.engine.docker import run_docker
from tools.facts.images import load_images
from tools.images.labels import (
    BASE_ORIGIN_LABEL,
    REVISION_LABEL,
    SOURCE_ORIGIN_LABEL,
    VERSION_LABEL,
)
from tools.publish.plan import Built, find_built
from tools.registry.client import Registry, parse_repository, registry

#: A commit that no checkout is at, so that a test cannot take the tree's for it.
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Label(Protocol):
    """Makes an image anew with other labels: the one under test, or ``source``."""

    def __call__(
        self, labels: Mapping[str, str], source: str = ..., platform: str = ...
    ) -> Built: ...


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config) -> Path:
    try:
        return registry_program()
    except ToolError as error:
        need(pytestconfig, "registry", available=False, why=str(error))
        raise


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login and no setting of whoever runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in list(os.environ):
        if name.startswith("JINA_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("tools.common.web.PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture(scope="session")
def server(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    """One registry for all: what it has of the image's layers need not be pushed again."""
    with local_registry(program, tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(scope="session")
def gateway(server: LocalRegistry) -> Iterator[Gate]:
    with gate(server.port) as made:
        yield made


@pytest.fixture
def front(gateway: Gate) -> Iterator[Gate]:
    """The registry's proxy, which can hold up requests."""
    gateway.manifests_put.clear()
    yield gateway
    gateway.open()


@pytest.fixture
def target(front: Gate) -> Iterator[Registry]:
    """A repository of the test's own."""
    repository = f"{front.host}/tests-{secrets.token_hex(4)}/jina-embeddings-v5"
    with registry(parse_repository(repository)) as made:
        yield made


@pytest.fixture
def labelled(image: str, tmp_path: Path) -> Iterator[Label]:
    """Make an image, the one under test, anew with other labels; its layers stay the same."""
    made = []

    def label(
        labels: Mapping[str, str], source: str = image, platform: str = "linux/amd64"
    ) -> Built:
        folder = tmp_path / f"labelled-{secrets.token_hex(4)}"
        folder.mkdir()
        lines = [f"FROM {source}", *(f'LABEL {key}="{value}"' for key, value in labels.items())]
        (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
        name = f"jina-embeddings-v5:{folder.name}"
        options = ["--provenance=false", "--load", "--platform", platform, "--tag", name]
        docker("buildx", "build", *options, str(folder))
        made.append(name)
        return find_built([name], platform, "cpu")

    yield label
    for name in made:
        run_docker(["image", "rm", "--no-prune", name], timeout=60)


def release_labels(version: str) -> dict[str, str]:
    """Return the labels of an image of a release, all of it from first origins."""
    images = load_images()
    return {
        REVISION_LABEL: COMMIT,
        VERSION_LABEL: version,
        SOURCE_ORIGIN_LABEL: images.llama_cpp[0].name,
        BASE_ORIGIN_LABEL: images.base[0].name,
    }


@pytest.fixture
def released(labelled: Label) -> Callable[[str], Built]:
    """Make the image under test one of a release."""
    return lambda version: labelled(release_labels(version))
