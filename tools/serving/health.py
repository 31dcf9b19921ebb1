"""Wait until a container is healthy, or say why it is not."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tools.common.errors import ToolError
from tools.common.waiting import wait_for
from tools.engine.docker import ask_docker, run_docker

CONTAINER_PORT = 8080

#: Seconds a boot may take: the largest model file read from a slow disk, with a wide margin.
BOOT_SECONDS = 300


def wait_until_healthy(container: str) -> None:
    """Return once the container of this id is healthy.

    Raises ToolError at once when it has died, or after BOOT_SECONDS, with the end of its log, the
    last health checks and a probe made from here.
    """

    def look() -> bool | None:
        facts = inspect(container)
        state = facts["State"]
        if state.get("Health", {}).get("Status") == "healthy":
            return True
        if state["Status"] in ("exited", "dead", "restarting") or facts["RestartCount"]:
            raise ToolError(f"the server ended before it was healthy:\n{log_tail(container)}")
        return None

    if wait_for(look, BOOT_SECONDS) is None:
        facts = inspect(container)
        raise ToolError(
            f"the server was not healthy within {BOOT_SECONDS} seconds:\n"
            f"{log_tail(container)}\n{_health_log(facts)}\nlast probe from here: {_probe(facts)}"
        )


def inspect(container: str) -> dict[str, Any]:
    """Return what the engine knows of a container; raises ToolError where there is none."""
    said = ask_docker(["container", "inspect", container], failed=f"no container {container[:12]}")
    return dict(json.loads(said)[0])


def log_tail(container: str, lines: int = 25) -> str:
    """Return the last lines that a container printed."""
    result = run_docker(["logs", "--tail", str(lines), container])
    return (result.stdout + result.stderr).rstrip()


def _health_log(facts: dict[str, Any]) -> str:
    entries = facts["State"].get("Health", {}).get("Log") or []
    return "\n".join(
        f"health check: exit code {entry['ExitCode']}: {(entry['Output'] or '').strip()}"
        for entry in entries[-3:]
    )


def _probe(facts: dict[str, Any]) -> str:
    published = (facts["NetworkSettings"]["Ports"] or {}).get(f"{CONTAINER_PORT}/tcp")
    if not published:
        return "no port is published"
    url = f"http://127.0.0.1:{published[0]['HostPort']}/health"
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"GET {url}: {error!r}"
    return f"GET {url}: {answer.status_code} {answer.text[:200]}"
