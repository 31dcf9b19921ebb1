"""Boots Elasticsearch beside the embedding server, on one network, and takes both away again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tools.common.console import say
from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.engine.docker import show_docker
from tools.facts.models import Model
from tools.facts.paths import ROOT, TEMPORARY_COMPOSE_FILE
from tools.serving.health import wait_until_healthy
from tools.serving.options import Weights
from tools.serving.profile import model_environment, temporary, tidied, up, up_failure

COMPOSE_FILE = ROOT / "compose" / "elasticsearch" / "compose.yaml"

#: What its projects begin with (compose.yaml's name).
PROJECT = "jina-embeddings-v5-elastic"

ELASTICSEARCH, KIBANA = "elasticsearch", "kibana"
_PORTS = {ELASTICSEARCH: 9200, KIBANA: 5601}


@dataclass(frozen=True)
class Stack:
    """Where Elasticsearch answers, and Kibana where it was asked for."""

    es_url: str
    kibana_url: str | None


def stack_of(model: Model, environment: Mapping[str, str] | None = None) -> Compose:
    """Return the stack with a model, under a project name of its own."""
    temporary_file = COMPOSE_FILE.with_name(TEMPORARY_COMPOSE_FILE.name)
    return Compose(
        files=(COMPOSE_FILE, TEMPORARY_COMPOSE_FILE, temporary_file),
        project=f"{PROJECT}-{model.name}-{secrets.token_hex(4)}",
        profile=model.name,
        environment=environment,
    )


def pull(services: Sequence[str]) -> None:
    """Fetch the services' images where they are missing, showing docker's own progress.

    Raises ToolError when the registry cannot be reached.
    """
    compose = Compose(files=(COMPOSE_FILE,), profile=KIBANA)
    pulling = compose.command("pull", "--policy", "missing", *services)
    result = show_docker(pulling, errors=False)
    if result.returncode != 0:
        raise ToolError(
            "the image of Elasticsearch cannot be fetched from docker.elastic.co; where that "
            "registry is out of reach, give the address of a cluster with --es-url"
        )


@contextmanager
def booted_stack(
    model: Model, weights: Weights, image: str, *, kibana: bool, keep: bool
) -> Iterator[Stack]:
    """Boot the stack, yield it healthy, and remove it at the end unless ``keep``.

    Raises ToolError, with the end of a log, when a service does not become healthy.
    """
    environment = {
        **os.environ,
        **model_environment(model, weights.file, synthetic=weights.synthetic),
        "JINA_IMAGE": image,
        "JINA_PORT": "",
    }
    compose = temporary(stack_of(model, environment), keep=keep)
    with tidied(compose, keep=keep):
        say(f"starting Elasticsearch and {model.name} ({weights.file.name})")
        up(compose, model)
        wait_until_healthy(compose.container(ELASTICSEARCH))
        if kibana:
            started = compose.run("up", "--detach", "--pull", "never", KIBANA)
            if started.returncode != 0:
                raise up_failure(started.stderr, environment)
            say("starting Kibana, which takes a minute")
            wait_until_healthy(compose.container(KIBANA))
        yield Stack(_url(compose, ELASTICSEARCH), _url(compose, KIBANA) if kibana else None)


def _url(compose: Compose, service: str) -> str:
    return f"http://{compose.address(service, _PORTS[service])}"
