"""Which image and which weights are served: the options of every verb that serves.

Weights are called real only where they were verified: a file that lies in the models folder is
hashed like one that was downloaded.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tools.common.errors import ToolError
from tools.engine.ensure import ensure_engine
from tools.facts.images import Images
from tools.facts.models import Model, Models
from tools.facts.paths import CUDA_COMPOSE_FILE
from tools.images.build import build_image
from tools.origins.choose import add_origin_argument, choose
from tools.weights.hub import fetch_from_hub, models_dir
from tools.weights.recipe import QUANTISATIONS, Quantisation
from tools.weights.synthetic import ensure_synthetic

REAL, SYNTHETIC = "real", "synthetic"


@dataclass(frozen=True)
class Weights:
    """A model file: verified to be the real one, or ``synthetic``, made here."""

    file: Path
    synthetic: bool


def add_model_argument(
    parser: argparse.ArgumentParser, models: Models, default: str | None = None
) -> None:
    """Add the model that is served; it must be named where there is no ``default``."""
    parser.add_argument(
        "model",
        nargs="?" if default else None,
        choices=sorted(models.models),
        default=default,
        help=f"the model; {default} unless given" if default else "the model",
    )


def add_weights_arguments(
    parser: argparse.ArgumentParser, models: Models, default: str = REAL
) -> None:
    """Add what :func:`choose_weights` reads."""
    parser.add_argument(
        "--weights",
        choices=[REAL, SYNTHETIC],
        default=default,
        help="real: downloaded and verified; synthetic: made here, which only know shared words "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--quant",
        default=models.default_quantisation,
        metavar="QUANT",
        help="the quantisation (default: %(default)s)",
    )


def add_image_arguments(parser: argparse.ArgumentParser, *, gpu: bool = False) -> None:
    """Add what :func:`choose_image` reads; ``gpu`` for verbs that can serve on one."""
    parser.add_argument(
        "--image",
        default=os.environ.get("JINA_IMAGE") or None,
        help="serve from this image instead of building one; the variable JINA_IMAGE sets it too",
    )
    parser.set_defaults(gpu=False)
    if gpu:
        add_gpu_argument(parser)
    add_origin_argument(parser)


def add_gpu_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--gpu``."""
    parser.add_argument(
        "--gpu", action="store_true", help="the cuda flavour on an NVIDIA GPU, as compose/cuda.yaml"
    )


def choose_weights(models: Models, model: Model, options: argparse.Namespace) -> Weights:
    """Return the weights that the command line names, downloaded or made where they are missing.

    Raises ToolError, saying what to do, where they cannot be had; real weights are never replaced
    by others.
    """
    if options.weights == REAL:
        file = fetch_from_hub(models, model.name, options.quant, model.task)
        return Weights(file, synthetic=False)
    if options.quant not in QUANTISATIONS:
        raise ToolError(
            f"--quant {options.quant}: synthetic weights are made in "
            f"{' or '.join(QUANTISATIONS)} only"
        )
    quantisation = cast(Quantisation, options.quant)
    made = ensure_synthetic(models_dir(), models.models[model.name], "tiny", quantisation)
    return Weights(made, synthetic=True)


def choose_image(images: Images, options: argparse.Namespace, *, one_variant: bool = False) -> str:
    """Return the local name of the image that the command line names, built unless it is given.

    ``one_variant`` builds one variant of the CPU kernels only. Raises ToolError where there is no
    engine, or the image cannot be built.
    """
    ensure_engine()
    if options.image:
        return str(options.image)
    flavour = images.images["cuda" if options.gpu else "cpu"]
    return build_image(images, flavour, choose(options.origin), one_variant=one_variant)


def compose_overrides(options: argparse.Namespace) -> list[Path]:
    """Return the compose files that go on top of the first: the GPU's, where it is asked for."""
    return [CUDA_COMPOSE_FILE] if options.gpu else []
