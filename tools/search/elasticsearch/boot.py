"""Boots Elasticsearch beside the embedding server, on one network, and takes both away again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from python_on_whales import DockerClient

from tools.common.console import say
from tools.common.errors import ToolError
from tools.engine.docker import docker_client, run_docker
from tools.facts.models import Model
from tools.facts.paths import ROOT
from tools.serving.profile import down, model_environment, up, up_failure, wait_until_healthy

COMPOSE_FILE = ROOT / "compose" / "elasticsearch" / "compose.yaml"

#: A project of its own, so that the server of `nox -s up` is left alone (compose.yaml's name).
PROJECT = "jina-embeddings-v5-elastic"

ELASTICSEARCH, KIBANA = "elasticsearch", "kibana"
_PORTS = {ELASTICSEARCH: 9200, KIBANA: 5601}


@dataclass(frozen=True)
class Booted:
    """Where Elasticsearch answers, and Kibana where it was asked for."""

    es_url: str
    kibana_url: str | None


def client_of(model: Model | None = None) -> DockerClient:
    """Return a client of the stack, with the profile of a model."""
    return docker_client(
        project=PROJECT, profile=model.name if model else None, compose_files=[COMPOSE_FILE]
    )


def pull(services: Sequence[str]) -> None:
    """Fetch the services' images where they are missing, showing docker's own progress.

    Raises ToolError when the registry cannot be reached.
    """
    command = ["docker", *client_of().docker_compose_cmd[1:]]
    result = subprocess.run(
        [*command, "--profile", KIBANA, "pull", "--policy", "missing", *services], check=False
    )
    if result.returncode != 0:
        raise ToolError(
            "the image of Elasticsearch cannot be fetched from docker.elastic.co; where that "
            "registry is out of reach, give the address of a cluster with --es-url"
        )


def boot(model: Model, file: Path, image: str, *, synthetic: bool, kibana: bool) -> Booted:
    """Start the stack, or bring a running one up to date, and wait until it is healthy.

    Raises ToolError, with the end of a log, when a service does not become healthy. What runs
    is then left for a look at it; ``remove`` takes it away.
    """
    client = client_of(model)
    environment = {
        **os.environ,
        **model_environment(model, file, synthetic=synthetic),
        "JINA_IMAGE": image,
        "JINA_PORT": "",
    }
    say(f"starting Elasticsearch and {model.name} ({file.name})")
    up(client, model, environment)
    wait_until_healthy(client, client.compose.ps([ELASTICSEARCH], all=True)[0])
    if kibana:
        command = [*client.docker_compose_cmd[1:], "up", "--detach", "--pull", "never", KIBANA]
        started = run_docker(command, environment=environment, timeout=120)
        if started.returncode != 0:
            raise up_failure(started.stderr, environment)
        say("starting Kibana, which takes a minute")
        wait_until_healthy(client, client.compose.ps([KIBANA], all=True)[0])
    return Booted(_url(client, ELASTICSEARCH), _url(client, KIBANA) if kibana else None)


def _url(client: DockerClient, service: str) -> str:
    _, port = client.compose.port(service, _PORTS[service])
    return f"http://127.0.0.1:{port}"


def remove() -> None:
    """Remove the stack and what is in it; does nothing when there is none."""
    down(client_of())
