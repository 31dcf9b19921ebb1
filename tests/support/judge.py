"""Judge the vectors of one container: whatever CPU it runs on, whichever kernels it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.contract.checks.inputs import token_array
from tests.contract.checks.numbers import BARS, reference
from tests.support.client import Client
from tests.support.containers import base_url, logs, started, wait_for_health, with_model
from tests.support.cpu_variants import library
from tests.support.vectors import cosine
from tools.facts.models import load_models
from tools.weights.hub import models_dir
from tools.weights.recipe import Quantisation
from tools.weights.synthetic import ensure_synthetic

#: What each variant is judged with: both quantisations, and both attentions.
WEIGHTS: tuple[tuple[str, Quantisation], ...] = (
    ("nano", "Q8_0"),
    ("nano", "F16"),
    ("small", "Q8_0"),
)

#: Long enough for several rows of every blocked kernel, and one that is no multiple of a block.
LENGTHS = (3, 301)

#: The server then says which variant of its kernels it loads.
VERBOSE = ("--verbosity", "4")


def tiny(model: str, quantisation: Quantisation) -> Path:
    """The model file that is judged with."""
    return ensure_synthetic(models_dir(), load_models().models[model], "tiny", quantisation)


def alone(variant: str, *, before: str = "") -> tuple[list[str], list[str]]:
    """Docker's options and the container's arguments for a server that has only this variant.

    ``before`` stands before the server's command.
    """
    script = (
        "mkdir /tmp/app && cp -a /app/. /tmp/app/ && cd /tmp/app && rm libggml-cpu-*.so && "
        f"cp /app/{library(variant)} . && {before} exec ./llama-server {' '.join(VERBOSE)}"
    )
    return ["--tmpfs", "/tmp:exec,mode=1777", "--entrypoint", "/bin/sh"], ["-euc", script]


def judge(
    image: str,
    model: str,
    quantisation: Quantisation,
    options: Sequence[str] = (),
    arguments: Sequence[str] = VERBOSE,
) -> str:
    """Compare the server's vectors with the reference's; what the server said.

    One after another, and together: then each must be hidden from the others.
    """
    weights = tiny(model, quantisation)
    with server(image, weights, options, arguments) as (container, client):
        inputs = [token_array(client, length) for length in LENGTHS]
        answers = [client.embed([tokens])[0] for tokens in inputs]
        together = client.embed(inputs)
        said = logs(container)
    for tokens, *answered in zip(inputs, answers, together, strict=True):
        expected = reference(weights).embed_tokens(tokens)
        for answer in answered:
            assert cosine(answer, expected) >= BARS[quantisation], len(tokens)
    return said


@contextmanager
def server(
    image: str, weights: Path, options: Sequence[str], arguments: Sequence[str]
) -> Iterator[tuple[str, Client]]:
    """Serve a file with more of docker's options and the container's arguments.

    Gives the container's id and a client of the healthy server.
    """
    options = [*with_model(weights), *options]
    with started(image, options=options, arguments=arguments) as container:
        wait_for_health(container, "healthy")
        with Client(base_url(container)) as client:
            yield container, client
