"""A TOML file taken apart key by key; what is wrong is reported by file and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, cast

from tools.common.errors import ToolError

SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class Table:
    """One TOML table, taken apart key by key; what is wrong is reported by file and key."""

    def __init__(self, path: Path, where: str, values: object) -> None:
        self.path = path
        self.where = where
        if not isinstance(values, dict):
            raise ToolError(f"{path.name}: {where or 'the file'} must be a table")
        self.values: dict[str, Any] = dict(values)

    def key(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def fault(self, name: str, problem: str) -> ToolError:
        return ToolError(f"{self.path.name}: {self.key(name)}: {problem}")

    def take(self, name: str, kind: type | tuple[type, ...], default: object = None) -> Any:
        value = self.values.pop(name, default)
        if value is None:
            raise self.fault(name, "is missing")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join(each.__name__ for each in kinds)
            raise self.fault(name, f"must be {expected}, found {value!r}")
        return value

    def text(self, name: str, pattern: re.Pattern[str] | None = None) -> str:
        value = cast(str, self.take(name, str))
        if not value or (pattern is not None and not pattern.fullmatch(value)):
            form = f" of the form {pattern.pattern}" if pattern else " that is not empty"
            raise self.fault(name, f"must be a string{form}, found {value!r}")
        return value

    def positive(self, name: str) -> int:
        value = cast(int, self.take(name, int))
        if value <= 0:
            raise self.fault(name, f"must be greater than 0, found {value}")
        return value

    def real(self, name: str) -> float:
        value = float(self.take(name, (int, float)))
        if value <= 0:
            raise self.fault(name, f"must be greater than 0, found {value}")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        return cast(bool, self.take(name, bool, default))

    def sequence(self, name: str, kind: type) -> tuple[Any, ...]:
        values = self.take(name, list)
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self.fault(name, f"must hold only {kind.__name__}, found {value!r}")
        if not values:
            raise self.fault(name, "must not be empty")
        return tuple(values)

    def table(self, name: str) -> Table:
        return Table(self.path, self.key(name), self.take(name, dict))

    def tables(self, name: str) -> list[Table]:
        items = self.take(name, list)
        if not items:
            raise self.fault(name, "must not be empty")
        return [Table(self.path, f"{self.key(name)}[{i}]", item) for i, item in enumerate(items)]

    def named_tables(self, name: str) -> dict[str, Table]:
        group = self.table(name)
        if not group.values:
            raise self.fault(name, "must not be empty")
        return {key: group.table(key) for key in list(group.values)}

    def end(self) -> None:
        if self.values:
            raise self.fault(min(self.values), "unknown key")


def read_table(path: Path) -> Table:
    """Return a file's outermost table; raises ToolError where it is missing or is no TOML."""
    try:
        return Table(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ToolError(f"{path} does not exist; run from a complete checkout") from None
    except tomllib.TOMLDecodeError as error:
        raise ToolError(f"{path.name}: not valid TOML: {error}") from None
