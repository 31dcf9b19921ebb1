"""What CI has to do, derived from the catalogue: `python -m tools.facts.matrix [STAGE]`.

Prints the matrix of one stage as JSON, or of every stage as NAME=JSON, a line each, which is the
form of a GitHub Actions job's outputs. It needs nothing but Python, so that a plan is made in
seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tools.common.errors import ToolError, run_verb
from tools.facts.images import Image, Images, load_images, local_name
from tools.facts.models import Models, load_models

Row = dict[str, str]

#: The image that is booted where not the image is judged but what is around it.
_USUAL = {"image": "cpu", "platform": "linux/amd64"}

#: GitHub's own runners, by the platform that they are natively
#: (docs.github.com/en/actions/reference/runners/github-hosted-runners).
RUNNERS = {"linux/amd64": "ubuntu-24.04", "linux/arm64": "ubuntu-24.04-arm"}


def build(images: Images) -> list[Row]:
    """Return one row for each image and platform, with the runner that is that platform."""
    return [
        _row(images, image, platform)
        for image in images.images.values()
        for platform in image.platforms
    ]


def verify(images: Images, models: Models) -> list[Row]:
    """Return one row for each image, platform and model."""
    return [{**row, "model": model} for row in build(images) for model in models.models]


def gpu(images: Images) -> list[Row]:
    """Return those rows of the build whose image is for GPUs, to be judged on one."""
    return [row for row in build(images) if images.images[row["image"]].cuda_architectures]


def elasticsearch(images: Images, models: Models) -> list[Row]:
    """Return one row for each model, each with the usual image."""
    return [row for row in verify(images, models) if _USUAL.items() <= row.items()]


def release(images: Images, *, with_gpu: bool) -> list[Row]:
    """Return one row for each image, without a GPU to prove them on only those that need none."""
    return [
        {"image": image.name}
        for image in images.images.values()
        if with_gpu or not image.cuda_architectures
    ]


def _row(images: Images, image: Image, platform: str) -> Row:
    if platform not in RUNNERS:
        raise ToolError(
            f"images.toml: images.{image.name}.platforms: no runner is known for {platform}; "
            f"tools/facts/matrix.py knows {', '.join(RUNNERS)}"
        )
    return {
        "image": image.name,
        "platform": platform,
        "name": local_name(images, image),  # on its own platform, where it is loaded
        "runner": RUNNERS[platform],
        "artifact": f"image-{image.name}-{platform.replace('/', '-')}",
        # Whether an image has CUDA is read from its label, and a lost one must not skip tests.
        "require": "docker,cuda-image" if image.cuda_architectures else "docker",
    }


def stages() -> dict[str, list[Row]]:
    """Return the rows of every stage, as the fact files have them."""
    images, models = load_images(), load_models()
    return {
        "build": build(images),
        "verify": verify(images, models),
        "gpu": gpu(images),
        "elasticsearch": elasticsearch(images, models),
        "release": release(images, with_gpu=True),
        "release_without_gpu": release(images, with_gpu=False),
    }


def main(arguments: Sequence[str]) -> None:
    """Print one stage's matrix, or all of them."""
    known = stages()
    parser = argparse.ArgumentParser(prog="python -m tools.facts.matrix", description=__doc__)
    parser.add_argument("stage", nargs="?", choices=known, help="all of them unless given")
    stage = parser.parse_args(arguments).stage
    if stage:
        print(json.dumps({"include": known[stage]}, indent=2))
        return
    for name, rows in known.items():
        print(f"{name}={json.dumps({'include': rows})}")


if __name__ == "__main__":
    sys.exit(run_verb(main))
