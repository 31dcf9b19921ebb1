"""Serve a real model, and stop serving: `nox -s up -- nano`, `... --gpu`, `nox -s down`.

Compose itself names the project, as for whoever uses it without these verbs: COMPOSE_PROJECT_NAME,
else compose.yaml's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress

from tools.common.console import say
from tools.common.errors import ToolError, run_verb
from tools.engine.compose import Compose
from tools.engine.docker import docker_failure, run_docker
from tools.facts.images import load_images
from tools.facts.models import RETRIEVAL, load_models
from tools.facts.paths import COMPOSE_FILE
from tools.serving.leftovers import remove_left_behind
from tools.serving.options import (
    add_image_arguments,
    add_model_argument,
    add_weights_arguments,
    choose_image,
    choose_weights,
    compose_overrides,
)
from tools.serving.profile import model_environment, up
from tools.weights.hub import add_task_argument

#: What docker says where there is no engine at its usual place.
_NOBODY_LISTENS = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
    "Is the docker daemon running?"
)


def serve_up(arguments: Sequence[str]) -> None:
    """Build the image, download the model, boot it and leave it running."""
    images, models = load_images(), load_models()
    parser = argparse.ArgumentParser(prog="nox -s up --", description=serve_up.__doc__)
    add_model_argument(parser, models)
    add_task_argument(parser)
    add_weights_arguments(parser, models)
    add_image_arguments(parser, gpu=True)
    options = parser.parse_args(arguments)
    model = models.models[options.model].for_task(options.task)
    weights = choose_weights(models, model, options)
    image = choose_image(images, options)
    compose = Compose(
        files=(COMPOSE_FILE, *compose_overrides(options)),
        profile=model.name,
        environment={
            **os.environ,
            **model_environment(model, weights.file, synthetic=weights.synthetic),
            "JINA_IMAGE": image,
        },
    )
    say(f"starting {model.name} ({weights.file.name})")
    try:
        running = up(compose, model)
    except BaseException:
        with suppress(ToolError):
            compose.down()
        raise
    query, document = models.query_prefix, models.document_prefix
    prefixes = (
        f"prefix searches with {query!r} and documents with {document!r}"
        if model.task == RETRIEVAL
        else f"it is for {model.task}, and puts {document!r} before every text"
    )
    say(
        f"{model.name} answers at {running.base_url}/v1/embeddings ({model.dims} dimensions)\n"
        f"{prefixes}; `nox -s down` stops it"
    )


def serve_down(arguments: Sequence[str]) -> None:
    """Stop what `nox -s up`, or plain docker compose, left running.

    So are stacks of tests and demos that nobody removed. Raises ToolError where an engine may be
    running, but does not answer us.
    """
    argparse.ArgumentParser(prog="nox -s down", description=serve_down.__doc__).parse_args(
        arguments
    )
    if _no_engine_runs():
        say("no Docker Engine runs here, so no server of ours does")
        return
    Compose().down()
    removed = remove_left_behind()
    say(f"stopped{', with ' if removed else ''}{', '.join(removed)}")


def _no_engine_runs() -> bool:
    """Tell whether docker is not there, or nobody listens at its own socket.

    Raises ToolError where it is another address that does not answer, or we may not ask.
    """
    if shutil.which("docker") is None:
        return True
    answer = run_docker(["version", "--format", "{{.Server.Version}}"], timeout=30)
    if answer.returncode == 0:
        return False
    if _NOBODY_LISTENS in answer.stderr:
        return True
    raise docker_failure(answer.stderr, "the Docker Engine does not say whether a server runs")


def main(arguments: Sequence[str]) -> None:
    """Run ``up`` or ``down``, the first argument."""
    parser = argparse.ArgumentParser(prog="python -m tools.serving.up")
    parser.add_argument("action", choices=["up", "down"])
    action = parser.parse_args(arguments[:1]).action
    (serve_up if action == "up" else serve_down)(arguments[1:])


if __name__ == "__main__":
    sys.exit(run_verb(main))
