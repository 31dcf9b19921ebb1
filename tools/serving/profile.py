"""Boot a compose profile, and tidy up again."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.engine.docker import docker_failure
from tools.facts.models import RETRIEVAL, Model
from tools.facts.paths import COMPOSE_FILE, TEMPORARY_COMPOSE_FILE
from tools.serving.health import CONTAINER_PORT, wait_until_healthy
from tools.serving.leftovers import NOBODY, OWNER_VARIABLE, this_process

#: What the projects of :func:`booted` begin with; compose.yaml's name, which `nox -s up` has.
PROJECT = "jina-embeddings-v5"

#: Seconds that a server has to end by itself; compose's stop_grace_period.
STOP_SECONDS = 30

#: The variables that name published ports, each with compose's default and the verb that frees it.
_PORTS = {
    "JINA_PORT": (str(CONTAINER_PORT), "nox -s down"),
    "JINA_ES_PORT": ("9200", "nox -s down"),
    "JINA_KIBANA_PORT": ("5601", "nox -s down"),
}

#: The address that docker could not publish on, in the daemon's words: "Bind for 127.0.0.1:8080
#: failed", "listen tcp4 127.0.0.1:8080: bind", "failed to bind host port for [::]:8080:172...".
_TAKEN = re.compile(r"(?:for|port|tcp[46]?) (?:\[[^]]*\]|::|[\d.]+):(\d+)")

#: What the shell may set for a person's server, and must not leak into a test's.
_OUR_VARIABLES = ("JINA_", "LLAMA_")


@dataclass(frozen=True)
class Running:
    """A healthy service: where it answers, and the container that it runs in."""

    base_url: str
    container_id: str


def model_environment(model: Model, file: Path, *, synthetic: bool) -> dict[str, str]:
    """Return the compose variables that make ``model``'s profile serve ``file``.

    A variant for another task has that in its name. Synthetic weights must never pass for the real
    ones, so they change the served name, too.
    """
    key = model.name.upper()
    variables = {
        "JINA_MODELS_DIR": str(file.parent.resolve()),
        f"JINA_{key}_FILE": file.name,
        "JINA_TASK": model.task,
    }
    if model.task != RETRIEVAL:
        variables[f"JINA_{key}_NAME"] = model.served_as
    if synthetic:
        variables[f"JINA_{key}_NAME"] = f"{model.served_as}-synthetic"
    return variables


def clean_environment() -> dict[str, str]:
    """Return this process's environment without a person's settings for their own server."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_OUR_VARIABLES)}


def temporary(compose: Compose, *, keep: bool = False) -> Compose:
    """Return the project as tests and demos boot it: gone with the engine, found by `down`.

    Its label says which process it belongs to; one to ``keep`` belongs to none.
    """
    owner = NOBODY if keep else this_process()
    environment = os.environ if compose.environment is None else compose.environment
    return replace(compose, environment={**environment, OWNER_VARIABLE: owner})


def up(compose: Compose, model: Model) -> Running:
    """Start the project with ``model``'s service and wait until that is healthy.

    Raises ToolError, with what compose or the server said, when it does not get there.
    """
    started = compose.run("up", "--detach", "--no-build", "--pull", "never")
    if started.returncode != 0:
        raise up_failure(started.stderr, compose.environment or os.environ)
    container = compose.container(model.name)
    wait_until_healthy(container)
    return Running(f"http://{compose.address(model.name, CONTAINER_PORT)}", container)


def up_failure(said: str, environment: Mapping[str, str]) -> ToolError:
    """Return the error for what docker compose ``said`` when it could not start a service.

    ``environment`` is what compose was given.
    """
    text = said.strip()
    if "already allocated" in text or "address already in use" in text:
        return _port_is_taken(text, environment)
    if "could not select device driver" in text:
        return ToolError(
            "docker cannot give a container the GPU: NVIDIA's driver and container toolkit must be "
            f"installed, and docker restarted after that (docs/serve/gpu.md)\n{text}"
        )
    if "No such image" in text or "pull access denied" in text:
        return ToolError(
            "the image is not there; `nox -s build` makes it, `nox -s build -- cuda` the GPU's"
        )
    return docker_failure(text, "docker compose could not start the service")


def _port_is_taken(said: str, environment: Mapping[str, str]) -> ToolError:
    found = _TAKEN.search(said)
    port = found.group(1) if found else None
    for variable, (default, verb) in _PORTS.items():
        if port and port == environment.get(variable, default):
            return ToolError(
                f"port {port} is taken. If it is a server of ours, `{verb}` stops it; otherwise "
                f"choose another port with {variable}"
            )
    return ToolError(f"a port that is to be published is taken:\n{said}")


@contextmanager
def booted(
    model: Model,
    file: Path,
    *,
    image: str,
    synthetic: bool,
    variables: Mapping[str, str] | None = None,
    overrides: Sequence[Path] = (),
    keep: bool = False,
) -> Iterator[Running]:
    """Boot ``model``'s profile on ``file`` under a project name and a port of its own.

    ``variables`` are further compose variables, ``overrides`` further compose files. The stack
    is removed at the end, whatever happened, unless ``keep``. Raises ToolError when it does not
    become healthy.
    """
    compose = temporary(
        Compose(
            files=(COMPOSE_FILE, *overrides, TEMPORARY_COMPOSE_FILE),
            project=f"{PROJECT}-{model.name}-{secrets.token_hex(4)}",
            profile=model.name,
            environment={
                **clean_environment(),
                **model_environment(model, file, synthetic=synthetic),
                "JINA_IMAGE": image,
                "JINA_PORT": "",
                **(variables or {}),
            },
        ),
        keep=keep,
    )
    with tidied(compose, keep=keep):
        yield up(compose, model)


@contextmanager
def tidied(compose: Compose, *, keep: bool = False) -> Iterator[None]:
    """Remove the project at the end, whatever happened, unless ``keep``."""
    try:
        yield
    except BaseException:
        if not keep:
            # Why it failed matters more than that tidying up may fail for the same reason.
            with suppress(ToolError):
                _tidy_up(compose)
        raise
    if not keep:
        _tidy_up(compose)


def _tidy_up(compose: Compose) -> None:
    """Remove the project even where Ctrl-C comes in the middle of removing it."""
    try:
        compose.down()
    except KeyboardInterrupt:
        compose.down()
        raise
