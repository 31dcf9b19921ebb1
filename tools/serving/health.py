"""Wait until a container is healthy, or say why it is not."""

from __future__ import annotations

import httpx
from python_on_whales import Container
from python_on_whales.exceptions import NoSuchContainer

from tools.common.errors import ToolError
from tools.common.waiting import wait_for
from tools.engine.docker import docker_client

CONTAINER_PORT = 8080

#: Seconds a boot may take: the largest model file read from a slow disk, with a wide margin.
BOOT_SECONDS = 300


def wait_until_healthy(container: str) -> None:
    """Return once the container of this id is healthy.

    Raises ToolError at once when it has died, or after BOOT_SECONDS, with the end of its log, the
    last health checks and a probe made from here.
    """

    def look() -> bool | None:
        found = inspect(container)
        state = found.state
        if state.health is not None and state.health.status == "healthy":
            return True
        if state.status in ("exited", "dead", "restarting") or found.restart_count:
            raise ToolError(f"the server ended before it was healthy:\n{log_tail(container)}")
        return None

    if wait_for(look, BOOT_SECONDS) is None:
        found = inspect(container)
        raise ToolError(
            f"the server was not healthy within {BOOT_SECONDS} seconds:\n"
            f"{log_tail(container)}\n{_health_log(found)}\nlast probe from here: {_probe(found)}"
        )


def inspect(container: str) -> Container:
    """Return what the engine knows of a container; raises ToolError where there is none."""
    try:
        return docker_client().container.inspect(container)
    except NoSuchContainer:
        raise ToolError(f"the container {container[:12]} is gone") from None


def log_tail(container: str, lines: int = 25) -> str:
    """Return the last lines that a container printed."""
    return str(docker_client().container.logs(container, tail=lines)).rstrip()


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
        answer = httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"GET {url}: {error!r}"
    return f"GET {url}: {answer.status_code} {answer.text[:200]}"
