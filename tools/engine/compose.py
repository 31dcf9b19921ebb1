"""The one place that runs docker compose."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.engine.docker import ask_docker, docker_client, run_docker
from tools.facts.paths import COMPOSE_FILE


@dataclass(frozen=True)
class Compose:
    """A project: its compose files, the later ones on top, its profile, and its variables.

    Without a ``project`` compose names it (COMPOSE_PROJECT_NAME, else the first file's own).
    ``environment`` replaces this process's own.
    """

    files: tuple[Path, ...] = (COMPOSE_FILE,)
    project: str | None = None
    profile: str | None = None
    environment: Mapping[str, str] | None = None

    def command(self, *arguments: str) -> list[str]:
        """Return the words after ``docker``."""
        client = docker_client(self.files, self.project, self.profile)
        return [*(str(word) for word in client.docker_compose_cmd[1:]), *arguments]

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run docker compose, exit code unchecked; raises ToolError as ``run_docker`` does."""
        return run_docker(self.command(*arguments), environment=self.environment, timeout=timeout)

    def ask(self, *arguments: str, failed: str = "", timeout: float = 120) -> str:
        """Run docker compose and return what it printed; raises ToolError when it fails."""
        return ask_docker(
            self.command(*arguments), failed=failed, environment=self.environment, timeout=timeout
        )

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        return self.ask("ps", "--all", "--quiet", service)

    def address(self, service: str, port: int) -> str:
        """Return HOST:PORT at which this machine reaches a port of a service."""
        host, _, published = self.ask("port", service, str(port)).rpartition(":")
        return f"{'127.0.0.1' if host in ('', '0.0.0.0', '[::]', '::') else host}:{published}"  # noqa: S104

    def down(self) -> None:
        """Remove the project's containers, network and volumes; does nothing without any."""
        self.ask(
            *("--profile=*", "down", "--volumes", "--timeout", "10"),
            failed="docker compose could not stop the service",
        )
