"""PostgreSQL with pgvector in a container: the image of compose/pgvector, built and booted."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from python_on_whales import DockerClient

from tools.common.cache import locked
from tools.common.console import say
from tools.common.errors import ToolError
from tools.engine.docker import docker_client, engine_platform, run_docker
from tools.engine.ensure import ensure_engine
from tools.facts.images import load_images
from tools.facts.paths import ROOT
from tools.images.build_log import explained
from tools.origins.choose import Choice, resolve_base
from tools.serving.profile import clean_environment, tidy_up

CONTEXT = ROOT / "compose" / "pgvector"
COMPOSE_FILE = CONTEXT / "compose.yaml"
DATABASE_IMAGE = "jina-embeddings-v5-postgres:17"
#: The name by which the Dockerfile calls its base.
BASE = "debian:trixie-slim"
PROJECT = "jina-embeddings-v5-pgvector"
SERVICE = "database"
CONTAINER_PORT = 5432

#: Seconds until a database must be healthy. A first start takes about three; the rest is for a
#: machine that is busy.
BOOT_SECONDS = 120


def build_database(choice: Choice) -> str:
    """Build the image from the first allowed origin of the base, and return its name.

    Raises ToolError when the base cannot be had or the build fails.
    """
    ensure_engine()
    base = resolve_base(load_images(), choice, engine_platform())
    started = time.monotonic()
    say(f"building {DATABASE_IMAGE} (the first time a minute)")
    with locked(DATABASE_IMAGE), explained(DATABASE_IMAGE):
        docker_client().buildx.build(
            CONTEXT,
            build_contexts={BASE: f"docker-image://{base.value}"},
            tags=[DATABASE_IMAGE],
            load=True,
            provenance=False,
        )
    say(f"built {DATABASE_IMAGE} in {time.monotonic() - started:.0f} s")
    return DATABASE_IMAGE


@contextmanager
def booted_database(image: str) -> Iterator[str]:
    """Boot an empty database and yield its connection string; remove it and its data at the end.

    It answers on a free port of this machine only, with a password made for it. Raises ToolError
    when it does not become healthy.
    """
    password = secrets.token_hex(16)
    client = docker_client(
        project=f"{PROJECT}-{secrets.token_hex(4)}", compose_files=(COMPOSE_FILE,)
    )
    environment = {
        **clean_environment(),
        "JINA_POSTGRES_IMAGE": image,
        "JINA_POSTGRES_PASSWORD": password,
        "JINA_POSTGRES_PORT": "",
    }
    try:
        _up(client, environment)
        address = _compose(client, environment, "port", SERVICE, str(CONTAINER_PORT)).stdout
        yield f"postgresql://postgres:{password}@{address.strip()}/postgres"
    except BaseException:
        # Why it failed matters more than that tidying up may fail for the same reason.
        with suppress(ToolError):
            tidy_up(client, environment)
        raise
    tidy_up(client, environment)


def _up(client: DockerClient, environment: Mapping[str, str]) -> None:
    up = ("up", "--detach", "--no-build", "--pull", "never")
    wait = ("--wait", "--wait-timeout", str(BOOT_SECONDS))
    started = _compose(client, environment, *up, *wait, SERVICE)
    if started.returncode != 0:
        log = _compose(client, environment, "logs", "--no-color", "--tail", "25", SERVICE).stdout
        raise ToolError(f"the database did not start: {started.stderr.strip()}\n{log}".rstrip())


def _compose(
    client: DockerClient, environment: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return run_docker(
        [*client.docker_compose_cmd[1:], *arguments],
        environment=environment,
        timeout=BOOT_SECONDS + 60,
    )
