"""Peers that are llama-server in an image: built by our own recipe, booted without compose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tools.bench.peers.image import ImageFacts, describe_image
from tools.bench.peers.known import ImagePeer
from tools.bench.peers.servers import Container, MeasuredServer
from tools.common.errors import ToolError
from tools.engine.docker import ask_docker, engine_platform, run_docker
from tools.facts.images import Image, Images
from tools.facts.models import Model
from tools.images.build import build_image
from tools.origins.choose import Choice
from tools.serving.health import CONTAINER_PORT, wait_until_healthy
from tools.serving.leftovers import OWNER_LABEL, this_process
from tools.serving.profile import Running


def build_peer(images: Images, peer: ImagePeer) -> ImageFacts:
    """Build a peer's image, which takes seconds where nothing has changed, and describe it.

    Raises ToolError where this machine is not one of its platforms, or the build fails.
    """
    platform = engine_platform()
    if platform not in peer.platforms:
        raise ToolError(f"it is for {' and '.join(peer.platforms)}, not for {platform}")
    own = images.images["cpu"]
    cmake = own.cmake if peer.cmake is None else peer.cmake
    name = build_image(
        images if peer.base is None else replace(images, base=(peer.base,)),
        Image(peer.name, peer.platforms, cuda_architectures=(), cmake=cmake),
        Choice(),
        tag=f"{images.repository}:peer-{peer.name}",
        patches=(),
    )
    return describe_image(name)


def container_options(peer: ImagePeer, model: Model, file: Path) -> list[str]:
    """Return the options of `docker create` that make the peer serve a model file."""
    settings = {"LLAMA_ARG_MODEL": f"/models/{file.name}", **peer.settings[model.name]}
    named = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    volume = f"{file.parent.resolve()}:/models:ro"
    owner = f"{OWNER_LABEL}={this_process()}"
    published = f"127.0.0.1::{CONTAINER_PORT}"
    return ["--label", owner, "--publish", published, "--volume", volume, *named]


@contextmanager
def booted_peer(peer: ImagePeer, image: str, model: Model, file: Path) -> Iterator[MeasuredServer]:
    """Boot a peer's image on a model file and remove the container at the end.

    Raises ToolError when it does not become healthy.
    """
    options = container_options(peer, model, file)
    # Not `docker run`: where that cannot start the container, it leaves it behind.
    container = ask_docker(["create", "--pull", "never", *options, image])
    try:
        ask_docker(["start", container])
        wait_until_healthy(container)
        address = ask_docker(["port", container, f"{CONTAINER_PORT}/tcp"]).splitlines()[0]
        yield Container(Running(f"http://{address}", container))
    finally:
        run_docker(["rm", "--force", "--volumes", container], timeout=60)
