"""Build an image from the first of its pinned origins that answers: `nox -s build`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from python_on_whales.exceptions import DockerException

from tools.catalog import ROOT, BaseOrigin, Image, ImageOrigin, Images, load_images, load_models
from tools.console import say
from tools.docker_client import docker_client
from tools.engine import ensure_engine
from tools.errors import ToolError, run_verb
from tools.origins import (
    Choice,
    Resolved,
    add_origin_argument,
    choose,
    resolve_base,
    resolve_source,
)
from tools.tags import Base, labels, local_name, read_revision, short_commit

CONTEXT = ROOT / "images"
PATCHES = CONTEXT / "patches"


def describe_base(base: Resolved[BaseOrigin, str]) -> Base:
    """Return what the labels say of a base: for a bootstrapped one, its digest in the engine."""
    if isinstance(base.origin, ImageOrigin):
        return Base(base.origin.reference, base.origin.digest, base.origin.name)
    image_id = docker_client().image.inspect(base.value).id
    return Base(f"debian:{base.origin.suite} (bootstrapped)", image_id, base.origin.name)


def patch_names() -> tuple[str, ...]:
    """Return the names of the patch series, in the order in which it is applied."""
    return tuple(sorted(path.stem for path in PATCHES.glob("*.patch")))


def comma_list(numbers: Sequence[int]) -> str:
    """Write numbers as the patched server reads a list of them."""
    return ",".join(map(str, numbers))


def build_image(
    images: Images,
    image: Image,
    choice: Choice,
    tag: str | None = None,
    patches: Sequence[str] | None = None,
) -> str:
    """Build ``image`` and return its local name; ``tag`` replaces the usual one.

    ``patches`` are the names of those to apply; without any given, the whole series is. The
    local name moves to the new image only when all of it was built. Raises ToolError when an
    input cannot be had or the build fails.
    """
    ensure_engine()
    name = tag or local_name(images, image)
    source = resolve_source(images, choice)
    base = resolve_base(images, choice)
    models = load_models()
    applied = patch_names() if patches is None else tuple(patches)
    started = time.monotonic()
    say(f"building {name}")
    try:
        docker_client().buildx.build(
            CONTEXT,
            file=CONTEXT / "Dockerfile",
            target="runtime",
            build_contexts={
                "base": f"docker-image://{base.value}",
                "llama-cpp": str(source.value),
            },
            build_args={
                "CMAKE_FLAGS": image.cmake_flags,
                "LLAMA_COMMIT": short_commit(source.origin),
                "PATCHES": " ".join(applied),
                "QUERY_PREFIX": models.query_prefix,
                "DOCUMENT_PREFIX": models.document_prefix,
                "MATRYOSHKA": comma_list(models.shared_matryoshka),
            },
            labels=labels(
                images,
                image,
                source.origin,
                describe_base(base),
                read_revision(),
                patches=applied,
            ),
            tags=[name],
            load=True,
            provenance=False,
        )
    except DockerException as error:
        raise ToolError(
            f"the build of {name} failed (exit code {error.return_code}); "
            "what went wrong is in the lines above"
        ) from None
    size = docker_client().image.inspect(name).size
    say(f"built {name}: {size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return name


def main(arguments: Sequence[str]) -> None:
    """Build one image flavour, as the command line says."""
    images = load_images()
    parser = argparse.ArgumentParser(prog="nox -s build --", description=__doc__)
    parser.add_argument("image", nargs="?", choices=sorted(images.images), default="cpu")
    parser.add_argument("--tag", help="the local name to give instead of the usual one")
    parser.add_argument(
        "--no-patches", action="store_true", help="build the bare source, without images/patches"
    )
    add_origin_argument(parser)
    options = parser.parse_args(arguments)
    image = images.images[options.image]
    patches = () if options.no_patches else None
    build_image(images, image, choose(options.origin), options.tag, patches)


if __name__ == "__main__":
    sys.exit(run_verb(main))
