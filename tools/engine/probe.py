"""Look at which engine answers, and whether it is new enough."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass

from packaging.version import Version

from tools.engine.docker import run_docker

#: Named build contexts need BuildKit 0.10, first shipped in Docker Engine 23.0
#: (docs.docker.com/engine/release-notes/23.0). The engine's version is compared because
#: distribution builds report their BuildKit as v0.0.0+unknown.
MINIMUM_ENGINE = Version("23.0")
#: The first buildx with `--build-context` (github.com/docker/buildx/releases/tag/v0.8.0).
MINIMUM_BUILDX = Version("0.8")
#: The first compose with `pull --policy`; `include` came with 2.20
#: (docs.docker.com/compose/release-notes).
MINIMUM_COMPOSE = Version("2.22")


@dataclass(frozen=True)
class Engine:
    """What answers now; None where there is nothing."""

    client: bool
    server: Version | None
    buildx: Version | None
    compose: Version | None
    server_error: str

    @property
    def problems(self) -> list[str]:
        """What stands in the way of building and booting, in a person's words."""
        found = []
        if not self.client:
            found.append("there is no docker command")
        elif self.server is None:
            found.append(f"no Docker Engine answers ({self.server_error})")
        elif self.server < MINIMUM_ENGINE:
            found.append(
                f"Docker Engine {self.server} is older than {MINIMUM_ENGINE}, "
                "the first whose BuildKit has named build contexts"
            )
        for name, version, minimum in (
            ("buildx", self.buildx, MINIMUM_BUILDX),
            ("compose", self.compose, MINIMUM_COMPOSE),
        ):
            if version is None:
                found.append(f"docker has no {name} plugin")
            elif version < minimum:
                found.append(f"the {name} plugin {version} is older than {minimum}")
        return found


def parse_version(text: str) -> Version | None:
    """Return the first dotted number in ``text`` as a version, or None.

    Distribution builds append text of their own (``26.1.5+dfsg1``), which is dropped.
    """
    match = re.search(r"\d+(?:\.\d+)+", text)
    return Version(match.group()) if match else None


def probe() -> Engine:
    """Look at what is installed and running; changes nothing."""
    if shutil.which("docker") is None:
        return Engine(client=False, server=None, buildx=None, compose=None, server_error="")
    server = run_docker(["version", "--format", "{{json .Server.Version}}"], timeout=30)
    buildx = run_docker(["buildx", "version"], timeout=30)
    compose = run_docker(["compose", "version", "--short"], timeout=30)
    answered = server.returncode == 0
    last_line = (server.stderr.strip().splitlines() or ["no answer"])[-1]
    return Engine(
        client=True,
        server=parse_version(json.loads(server.stdout)) if answered else None,
        buildx=parse_version(buildx.stdout) if buildx.returncode == 0 else None,
        compose=parse_version(compose.stdout) if compose.returncode == 0 else None,
        server_error=last_line,
    )
