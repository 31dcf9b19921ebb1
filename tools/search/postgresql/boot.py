"""PostgreSQL with pgvector in a container: the image of compose/pgvector, built and booted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tools.common.cache import locked
from tools.common.console import say
from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.engine.docker import engine_platform
from tools.engine.ensure import ensure_engine
from tools.facts.images import load_images
from tools.facts.paths import ROOT, TEMPORARY_COMPOSE_FILE
from tools.images.stage import build_folder
from tools.origins.choose import Choice, resolve_base
from tools.serving.health import wait_until_healthy
from tools.serving.profile import clean_environment, temporary, tidied

CONTEXT = ROOT / "compose" / "pgvector"
COMPOSE_FILE = CONTEXT / "compose.yaml"
DATABASE_IMAGE = "jina-embeddings-v5-postgres:17"
#: The name by which the Dockerfile calls its base.
BASE = "debian:trixie-slim"
#: What its projects begin with (compose.yaml's name).
PROJECT = "jina-embeddings-v5-pgvector"
SERVICE = "database"
CONTAINER_PORT = 5432


def build_database(choice: Choice) -> str:
    """Build the image from the first allowed origin of the base, and return its name.

    Raises ToolError when the base cannot be had or the build fails.
    """
    ensure_engine()
    base = resolve_base(load_images(), choice, engine_platform())
    started = time.monotonic()
    say(f"building {DATABASE_IMAGE} (the first time a minute)")
    with locked(DATABASE_IMAGE):
        build_folder(
            "postgres", CONTEXT, {BASE: f"docker-image://{base.value}"}, tag=DATABASE_IMAGE
        )
    say(f"built {DATABASE_IMAGE} in {time.monotonic() - started:.0f} s")
    return DATABASE_IMAGE


@contextmanager
def booted_database(image: str, *, keep: bool = False) -> Iterator[str]:
    """Boot an empty database and yield its connection string.

    It and its data are removed at the end, unless ``keep``. It answers on a free port of this
    machine only, with a password made for it. Raises ToolError when it does not become healthy.
    """
    password = secrets.token_hex(16)
    compose = temporary(
        Compose(
            files=(
                COMPOSE_FILE,
                TEMPORARY_COMPOSE_FILE,
                COMPOSE_FILE.with_name(TEMPORARY_COMPOSE_FILE.name),
            ),
            project=f"{PROJECT}-{secrets.token_hex(4)}",
            environment={
                **clean_environment(),
                "JINA_POSTGRES_IMAGE": image,
                "JINA_POSTGRES_PASSWORD": password,
                "JINA_POSTGRES_PORT": "",
            },
        ),
        keep=keep,
    )
    with tidied(compose, keep=keep):
        try:
            compose.ask("up", "--detach", "--no-build", "--pull", "never", SERVICE)
            wait_until_healthy(compose.container(SERVICE))
        except ToolError as error:
            raise ToolError(f"the database did not start: {error}") from None
        address = compose.address(SERVICE, CONTAINER_PORT)
        yield f"postgresql://postgres:{password}@{address}/postgres"
