"""What the compose files give a service, read without an engine.

Only the forms that compose/*.yaml use are known; tests/runtime/test_native.py holds the result to
what `docker compose config` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.common.errors import ToolError

#: ${NAME}, ${NAME-default} and ${NAME:-default}; the colon counts an empty value as not set
#: (the Compose specification, "Interpolation").
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:?)-([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """What a service's process gets: its variables, and arguments after the entry point."""

    environment: Mapping[str, str]
    command: tuple[str, ...]


def read_service(name: str, files: Sequence[Path], variables: Mapping[str, str]) -> Service:
    """Return service ``name`` as ``files`` make it together, the later ones on top.

    ``variables`` are the shell's. Raises ToolError for a file that is no compose file, or where
    none has the service.
    """
    environment: dict[str, str] = {}
    command: tuple[str, ...] = ()
    found = False
    for path in files:
        service = _services(path).get(name)
        if service is None:
            continue
        found = True
        for key, value in (service.get("environment") or {}).items():
            # Without a value: taken from the shell where it is set there.
            if value is not None:
                environment[key] = interpolate(str(value), variables)
            elif key in variables:
                environment[key] = variables[key]
        if "command" in service:
            command = tuple(interpolate(str(word), variables) for word in service["command"])
    if not found:
        raise ToolError(f"{', '.join(path.name for path in files)}: there is no service {name}")
    return Service(environment, command)


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Put ``variables`` into a compose value."""

    def value(match: re.Match[str]) -> str:
        name, colon, default = match.groups()
        given = variables.get(name)
        if given is None or (colon and not given):
            return default or ""
        return given

    return _VARIABLE.sub(value, text)


def _services(path: Path) -> dict[str, Any]:
    try:
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ToolError(f"{path} is no compose file: {error}") from None
    return dict(services)
