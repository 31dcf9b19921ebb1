"""The one place that makes Docker clients and runs the docker command line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from python_on_whales import DockerClient

from tools.common.errors import ToolError
from tools.facts.paths import COMPOSE_FILE


def docker_client(
    *,
    project: str | None = None,
    profile: str | None = None,
    compose_files: Sequence[Path] = (COMPOSE_FILE,),
) -> DockerClient:
    """Return a client for the current Docker context, optionally bound to a compose project.

    Raises ToolError when there is no docker command: python-on-whales would otherwise fetch
    one from the internet by itself.
    """
    if shutil.which("docker") is None:
        raise ToolError("there is no docker command on PATH; run `nox -s engine`")
    return DockerClient(
        compose_files=list(compose_files),
        compose_profiles=[profile] if profile else [],
        compose_project_name=project,
    )


def engine_platform() -> str:
    """Return the platform that the engine builds on and runs without emulation: linux/amd64, ...

    Raises ToolError when no engine answers.
    """
    answer = run_docker(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"], timeout=30)
    if answer.returncode != 0:
        raise ToolError(f"no Docker Engine answers; run `nox -s engine` ({answer.stderr.strip()})")
    return answer.stdout.strip()


def run_docker(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Run ``docker ARGUMENTS`` and return its result, output captured, exit code unchecked.

    For what python-on-whales lacks (timeouts, an environment of its own, captured stderr of
    compose). ``environment`` replaces this process's own; ``timeout`` is in seconds. Raises
    ToolError when the command is missing or takes longer than ``timeout``.
    """
    try:
        return subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=None if environment is None else dict(environment),
        )
    except FileNotFoundError:
        raise ToolError("there is no docker command on PATH; run `nox -s engine`") from None
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"`docker {' '.join(arguments)}` gave no answer within {timeout:.0f} seconds"
        ) from None


def show_docker(arguments: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run ``docker ARGUMENTS`` as :func:`run_docker` does, but let its progress be seen.

    Only stderr is captured: stdout goes where ours goes.
    """
    return subprocess.run(
        ["docker", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout,
    )
