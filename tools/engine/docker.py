"""The one place that makes Docker clients and runs the docker command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from python_on_whales import DockerClient

from tools.common.errors import ToolError

#: Seconds for what takes the engine moments, on a machine that is busy.
_SECONDS = 120


def docker_client(
    compose_files: Sequence[Path] = (), project: str | None = None, profile: str | None = None
) -> DockerClient:
    """Return a client for the current Docker context, optionally bound to a compose project.

    Raises ToolError when there is no docker command: python-on-whales would otherwise fetch one
    from the internet by itself.
    """
    if shutil.which("docker") is None:
        raise ToolError("there is no docker command on PATH; run `nox -s engine`")
    return DockerClient(
        compose_files=list(compose_files),
        compose_profiles=[profile] if profile else [],
        compose_project_name=project,
    )


def run_docker(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = _SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run ``docker ARGUMENTS`` and return its result, output captured, exit code unchecked.

    For what python-on-whales lacks: timeouts, an environment of its own, what compose says on
    stderr. ``environment`` replaces this process's own; ``timeout`` is in seconds. Raises ToolError
    when the command is missing or takes longer than ``timeout``.
    """
    return _run(arguments, timeout, environment, stdout=subprocess.PIPE)


def ask_docker(
    arguments: Sequence[str],
    *,
    failed: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float = _SECONDS,
) -> str:
    """Run ``docker ARGUMENTS`` and return what it printed, without white space around it.

    Raises ToolError, with ``failed`` and docker's own words, when it fails.
    """
    result = run_docker(arguments, environment=environment, timeout=timeout)
    if result.returncode != 0:
        raise docker_failure(result.stderr, failed or f"`docker {' '.join(arguments)}` failed")
    return result.stdout.strip()


def show_docker(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    errors: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run ``docker ARGUMENTS`` as :func:`run_docker` does, but let its progress be seen.

    stdout goes where ours goes. stderr is captured, unless ``errors`` is false: compose shows its
    progress there.
    """
    stderr = subprocess.PIPE if errors else None
    return _run(arguments, timeout, environment, stdout=None, stderr=stderr)


def _run(
    arguments: Sequence[str],
    timeout: float | None,
    environment: Mapping[str, str] | None,
    *,
    stdout: int | None,
    stderr: int | None = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
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


def docker_failure(said: str, failed: str) -> ToolError:
    """Return the error for what docker ``said`` on stderr when ``failed`` happened."""
    text = said.strip()
    if "permission denied" in text and "to connect to the docker" in text.lower():
        return ToolError(
            "you may not use the Docker Engine: run this as root, or join the group docker "
            f"(`sudo usermod -aG docker $USER`, then log in again) ({text})"
        )
    if "Cannot connect to the Docker daemon" in text or "error during connect" in text:
        if "DOCKER_HOST" in os.environ:
            return ToolError(
                f"no Docker Engine answers at DOCKER_HOST ({text}); correct that variable, or "
                "unset it and run `nox -s engine`"
            )
        return ToolError(f"no Docker Engine answers; run `nox -s engine` ({text})")
    separator = "\n" if "\n" in text else " "
    return ToolError(f"{failed}:{separator}{text or 'no reason given'}")


def engine_platform() -> str:
    """Return the platform that the engine builds on and runs without emulation: linux/amd64, ...

    Raises ToolError when no engine answers.
    """
    answer = run_docker(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"], timeout=30)
    if answer.returncode != 0:
        raise ToolError(f"no Docker Engine answers; run `nox -s engine` ({answer.stderr.strip()})")
    return answer.stdout.strip()


def image_field(name: str, field: str) -> Any:
    """Return a field of `docker image inspect`, such as ``.Id``, of a local image."""
    return ask_docker(["image", "inspect", "--format", f"{{{{{field}}}}}", name])
