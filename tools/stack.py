"""Boot a compose profile, wait until it is healthy, and tidy up again."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from python_on_whales import Container, DockerClient
from python_on_whales.exceptions import NoSuchContainer

from tools.catalog import Model
from tools.docker_client import COMPOSE_FILE, docker_client, run_docker
from tools.errors import ToolError

#: What the projects of :func:`booted` begin with; compose.yaml's name, which `nox -s up` has.
PROJECT = "jina-embeddings-v5"
CONTAINER_PORT = 8080

#: Seconds a boot may take: the largest model file read from a slow disk, with a wide margin.
BOOT_SECONDS = 300

#: The variables that name published ports, each with compose's default and the verb that frees it.
_PORTS = {
    "JINA_PORT": (str(CONTAINER_PORT), "nox -s down"),
    "JINA_ES_PORT": ("9200", "nox -s elastic -- --down"),
    "JINA_KIBANA_PORT": ("5601", "nox -s elastic -- --down"),
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

    Synthetic weights must never pass for the real ones, so they change the served name.
    """
    key = model.name.upper()
    variables = {"JINA_MODELS_DIR": str(file.parent.resolve()), f"JINA_{key}_FILE": file.name}
    if synthetic:
        variables[f"JINA_{key}_NAME"] = f"jina-embeddings-v5-text-{model.name}-synthetic"
    return variables


def clean_environment() -> dict[str, str]:
    """Return this process's environment without a person's settings for their own server."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_OUR_VARIABLES)}


def up(client: DockerClient, model: Model, environment: Mapping[str, str]) -> Running:
    """Start ``model``'s service with exactly ``environment`` and wait until it is healthy.

    Raises ToolError, with what compose or the server said, when it does not get there.
    """
    # Not client.compose.up: that takes its variables from os.environ only.
    started = run_docker(
        [*client.docker_compose_cmd[1:], "up", "--detach", "--no-build", "--pull", "never"],
        environment=environment,
        timeout=120,
    )
    if started.returncode != 0:
        raise up_failure(started.stderr, environment)
    container = client.compose.ps([model.name], all=True)[0]
    wait_until_healthy(client, container)
    host, port = client.compose.port(model.name, CONTAINER_PORT)
    address = "127.0.0.1" if host in (None, "", "0.0.0.0", "::") else host  # noqa: S104
    return Running(f"http://{address}:{port}", container.id)


def up_failure(said: str, environment: Mapping[str, str]) -> ToolError:
    """Return the error for what docker compose ``said`` when it could not start a service.

    ``environment`` is what compose was given.
    """
    text = said.strip()
    if "Cannot connect to the Docker daemon" in text:
        return ToolError(f"no Docker Engine answers; run `nox -s engine` ({text})")
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
    return ToolError(f"docker compose could not start the service:\n{text}")


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


def wait_until_healthy(client: DockerClient, container: Container) -> None:
    """Return once ``container`` is healthy.

    Raises ToolError at once when it has died, or after BOOT_SECONDS, with the end of its log,
    the last health checks and a probe made from here.
    """
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        try:
            container = client.container.inspect(container.id)
        except NoSuchContainer:
            raise ToolError(f"the container {container.id[:12]} is gone") from None
        state = container.state
        if state.health is not None and state.health.status == "healthy":
            return
        if state.status in ("exited", "dead", "restarting") or container.restart_count:
            raise ToolError(
                f"the server ended before it was healthy:\n{log_tail(client, container)}"
            )
        if time.monotonic() > deadline:
            raise ToolError(
                f"the server was not healthy within {BOOT_SECONDS} seconds:\n"
                f"{log_tail(client, container)}\n{_health_log(container)}\n"
                f"last probe from here: {_probe(container)}"
            )
        time.sleep(0.2)


def log_tail(client: DockerClient, container: Container, lines: int = 25) -> str:
    """Return the last lines that a container printed."""
    return str(client.container.logs(container, tail=lines)).rstrip()


def _health_log(container: Container) -> str:
    health = container.state.health
    entries = (health.log or []) if health is not None else []
    return "\n".join(
        f"health check: exit code {entry.exit_code}: {(entry.output or '').strip()}"
        for entry in entries[-3:]
    )


def _probe(container: Container) -> str:
    bindings = container.network_settings.ports or {}
    published = bindings.get(f"{CONTAINER_PORT}/tcp")
    if not published:
        return "no port is published"
    url = f"http://127.0.0.1:{published[0]['HostPort']}/health"
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.HTTPError as error:
        return f"GET {url}: {error!r}"
    return f"GET {url}: {answer.status_code} {answer.text[:200]}"


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
    project = f"{PROJECT}-{model.name}-{secrets.token_hex(4)}"
    client = docker_client(
        project=project, profile=model.name, compose_files=(COMPOSE_FILE, *overrides)
    )
    environment = {
        **clean_environment(),
        **model_environment(model, file, synthetic=synthetic),
        "JINA_IMAGE": image,
        "JINA_PORT": "",
        **(variables or {}),
    }
    try:
        yield up(client, model, environment)
    except BaseException:
        if not keep:
            # Why it failed matters more than that tidying up may fail for the same reason.
            with suppress(ToolError):
                tidy_up(client)
        raise
    if not keep:
        tidy_up(client)


def tidy_up(client: DockerClient, environment: Mapping[str, str] | None = None) -> None:
    """Remove the stack even where Ctrl-C comes in the middle of removing it."""
    try:
        down(client, environment)
    except KeyboardInterrupt:
        down(client, environment)
        raise


def down(client: DockerClient, environment: Mapping[str, str] | None = None) -> None:
    """Remove the project's containers, network and volumes; does nothing when there are none.

    ``environment`` replaces this process's own, for a compose file that demands variables.
    """
    removed = run_docker(
        [*client.docker_compose_cmd[1:], "--profile", "*", "down", "--volumes", "--timeout", "10"],
        environment=environment,
        timeout=120,
    )
    if removed.returncode != 0:
        raise ToolError(f"docker compose could not stop the service:\n{removed.stderr.strip()}")
