"""Serve a real model, and stop serving: `nox -s up -- nano`, `... --gpu`, `nox -s down`.

Compose itself names the project, as for whoever uses it without these verbs: COMPOSE_PROJECT_NAME,
else compose.yaml's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from tools.common.console import say
from tools.common.errors import ToolError, run_verb
from tools.engine.docker import docker_client
from tools.engine.ensure import ensure_engine
from tools.engine.probe import probe
from tools.facts.images import load_images
from tools.facts.models import load_models
from tools.facts.paths import COMPOSE_FILE, CUDA_COMPOSE_FILE
from tools.images.build import build_image
from tools.origins.choose import add_origin_argument, choose
from tools.serving.profile import down, model_environment, up
from tools.weights.hub import fetch_model


def serve_up(arguments: Sequence[str]) -> None:
    """Build the image, download the real model, boot it and leave it running."""
    images, models = load_images(), load_models()
    parser = argparse.ArgumentParser(prog="nox -s up --", description=serve_up.__doc__)
    parser.add_argument("model", choices=sorted(models.models))
    parser.add_argument("--quant", default=models.default_quantisation, help="default: %(default)s")
    parser.add_argument(
        "--gpu", action="store_true", help="the cuda image on an NVIDIA GPU, as compose/cuda.yaml"
    )
    add_origin_argument(parser)
    options = parser.parse_args(arguments)
    model = models.models[options.model]
    file = fetch_model(models, model.name, options.quant)
    ensure_engine()
    flavour = images.images["cuda" if options.gpu else "cpu"]
    name = os.environ.get("JINA_IMAGE") or build_image(images, flavour, choose(options.origin))
    files = [COMPOSE_FILE, CUDA_COMPOSE_FILE] if options.gpu else [COMPOSE_FILE]
    client = docker_client(profile=model.name, compose_files=files)
    say(f"starting {model.name} ({file.name})")
    environment = {
        **os.environ,
        **model_environment(model, file, synthetic=False),
        "JINA_IMAGE": name,
    }
    try:
        running = up(client, model, environment)
    except BaseException:
        with suppress(ToolError):
            down(client)
        raise
    say(
        f"{model.name} answers at {running.base_url}/v1/embeddings ({model.dims} dimensions)\n"
        f"prefix searches with {models.query_prefix!r} and documents with "
        f"{models.document_prefix!r}; `nox -s down` stops it"
    )


def serve_down(arguments: Sequence[str]) -> None:
    """Stop what `nox -s up`, or plain docker compose, left running."""
    argparse.ArgumentParser(prog="nox -s down", description=serve_down.__doc__).parse_args(
        arguments
    )
    if probe().server is None:
        say("no Docker Engine answers, so no server of ours is running")
        return
    down(docker_client())
    say("stopped")


def main(arguments: Sequence[str]) -> None:
    """Run ``up`` or ``down``, the first argument."""
    parser = argparse.ArgumentParser(prog="python -m tools.serving.up")
    parser.add_argument("action", choices=["up", "down"])
    action = parser.parse_args(arguments[:1]).action
    (serve_up if action == "up" else serve_down)(arguments[1:])


if __name__ == "__main__":
    sys.exit(run_verb(main))
