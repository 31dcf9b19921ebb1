"""The same inputs make the same image. Not of a container, but in need of an engine."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.containers import docker
from tests.support.origins import first_of
from tools.engine.docker import run_docker
from tools.facts.images import BootstrapOrigin, load_images
from tools.images.build import build_image
from tools.origins.bootstrap import bootstrap_archive
from tools.origins.choose import choose

IMAGES = load_images()
CPU = IMAGES.images["cpu"]
BOOTSTRAP = first_of(BootstrapOrigin, IMAGES.base)


@pytest.fixture
def names(engine: None) -> Iterator[list[str]]:
    """Two names for images, which are removed at the end."""
    made = [f"{IMAGES.repository}:again-{secrets.token_hex(4)}" for _ in range(2)]
    yield made
    run_docker(["image", "rm", "--force", *made], timeout=60)


def described(image: str) -> dict[str, Any]:
    """All that an image is: its layers' contents, its settings and its time."""
    found = json.loads(docker("image", "inspect", image))[0]
    return {key: found[key] for key in ("Id", "Created", "Config", "RootFS")}


#: Those after the compiler, whose objects may be used again. (BuildKit empties the caches of a
#: stage that it is told to do again, so the compiler's own stage is not among them.)
STAGES = "packages,shipped,runtime"


@pytest.fixture
def afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `docker buildx build` does the last stages again, whatever it knows of them."""
    command = tmp_path / "docker"
    again = f"set -- buildx build --no-cache-filter {STAGES}"
    command.write_text(
        "#!/bin/sh\n"
        f'if [ "$1 $2" = "buildx build" ]; then shift 2; {again} "$@"; fi\n'
        f'exec {shutil.which("docker")} "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_image_built_again_is_the_same(names: list[str], request: pytest.FixtureRequest) -> None:
    first, second = names
    build_image(IMAGES, CPU, choose([]), tag=first)
    request.getfixturevalue("afresh")
    build_image(IMAGES, CPU, choose([]), tag=second)
    assert described(first) == described(second)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("platform", CPU.platforms)
def test_a_base_bootstrapped_again_is_the_same(platform: str, engine: None, tmp_path: Path) -> None:
    digests = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        bootstrap_archive(BOOTSTRAP, platform, folder / "base.tar")
        digests.append(hashlib.sha256((folder / "base.tar").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
