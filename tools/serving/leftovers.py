"""Find and remove the stacks of tests and demos whose process did not live to do it."""

from __future__ import annotations

import os
import socket

from tools.common.console import say
from tools.engine.docker import ask_docker

#: What compose/*temporary.yaml put on their containers, and the variable that they take it from.
OWNER_LABEL = "dev.jina-embeddings-v5.owner"
OWNER_VARIABLE = "JINA_OWNER"
#: The owner of a stack that was left running on purpose.
NOBODY = "nobody"

_PROJECT_LABEL = "com.docker.compose.project"


def this_process() -> str:
    """Return what the owner's label says of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_owned(owner: str) -> bool:
    """Tell whether the process of a label still runs; one of another machine may."""
    host, _, number = owner.rpartition(":")
    if owner in ("", NOBODY) or not number.isdecimal():
        return False
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove_left_behind() -> list[str]:
    """Remove every stack that belongs to no running process, and return their names.

    The others are named and left alone. Raises ToolError when the engine refuses.
    """
    form = f'{{{{.ID}}}}|{{{{.Label "{_PROJECT_LABEL}"}}}}|{{{{.Label "{OWNER_LABEL}"}}}}'
    ours = f"label={OWNER_LABEL}"
    listed = ask_docker(["ps", "--all", "--filter", ours, "--format", form])
    stacks: dict[str, list[tuple[str, str]]] = {}
    for line in listed.splitlines():
        container, project, owner = line.split("|")
        stacks.setdefault(project or container, []).append((owner, container))
    removed = []
    for name, members in sorted(stacks.items()):
        if owners := [owner for owner, _ in members if is_owned(owner)]:
            say(f"{name} is left alone: it belongs to the process {owners[0]}, which runs")
        else:
            _remove(name, [container for _, container in members])
            removed.append(name)
    return removed


def _remove(project: str, containers: list[str]) -> None:
    """Remove containers, and the networks and volumes of their compose project."""
    ask_docker(["rm", "--force", "--volumes", *containers])
    for kind in ("network", "volume"):
        ours = ["--quiet", "--filter", f"label={_PROJECT_LABEL}={project}"]
        names = ask_docker([kind, "ls", *ours]).split()
        if names:
            ask_docker([kind, "rm", *names])
