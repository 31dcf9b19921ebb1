"""Images in a registry of the tests under the names that they have at their first origins."""

from __future__ import annotations

import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.containers import docker
from tools.engine.docker import run_docker
from tools.registry.client import parse_repository, registry
from tools.registry.manifests import image_index, platform_of


def hold_image(host: str, reference: str, local: str, platform: str) -> str:
    """Let the registry have the ``local`` image of a platform as ``reference``; the digest.

    As on Docker Hub the name means an index, here of one platform.
    """
    name, _, tag = reference.partition(":")
    pushed = f"{host}/{name}:{tag}-{platform.partition('/')[2]}"
    docker("image", "tag", local, pushed)
    try:
        docker("push", "--quiet", pushed, timeout=600)
    finally:
        run_docker(["image", "rm", "--no-prune", pushed], timeout=60)
    with registry(parse_repository(f"{host}/{name}")) as target:
        manifest = target.manifest(pushed.rpartition(":")[2])
        assert manifest is not None
        index = image_index([manifest.descriptor(platform=platform_of(platform))], {})
    # tools.registry.client names nothing: that is docker's part.
    stored = httpx.put(
        f"http://{host}/v2/{name}/manifests/{tag}",
        content=index.content,
        headers={"Content-Type": index.media_type},
        trust_env=False,
    )
    assert stored.status_code == 201, stored.text
    return index.digest


@contextmanager
def tiny_image(folder: Path, platform: str) -> Iterator[str]:
    """Yield the local name of an image that holds next to nothing."""
    archive = folder / "tiny.tar"
    (folder / "tiny").write_text("a stand-in\n")
    with tarfile.open(archive, "w") as tar:
        tar.add(folder / "tiny", "tiny")
    name = f"jina-embeddings-v5-tiny:{secrets.token_hex(4)}"
    docker("import", "--platform", platform, str(archive), name)
    try:
        yield name
    finally:
        run_docker(["image", "rm", "--no-prune", name], timeout=60)
