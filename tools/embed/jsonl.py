"""Rows of a JSONL file: an object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.common.errors import ToolError
from tools.embed.source import Checked, checked_text

if TYPE_CHECKING:
    import pyarrow

#: Arrow's names of the types of JSON that a column can be kept in.
_TYPES = {str: "string", bool: "bool", int: "int64", float: "double"}


class Jsonl:
    """Rows of a JSONL file. A column that a row lacks is null there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, column: str, keep: Sequence[str]) -> Checked:
        """Read all rows; see Source."""
        types: dict[str, str] = {}
        rows = 0
        for rows, row in enumerate(self._rows(0), 1):
            where = f"{self._path}, row {rows}"
            checked_text(row.get(column), where, column)
            for name in keep:
                value = row.get(name)
                if value is not None:
                    types[name] = _wider(types.get(name), value, where, name)
        for name in keep:
            if rows and name not in types:
                raise ToolError(f"{self._path}: no row has anything in `{name}` of --keep")
        return Checked(rows, types)

    def texts(self, column: str, first: int) -> Iterator[str]:
        """Yield the texts; see Source."""
        return (str(row[column]) for row in self._rows(first))

    def kept(self, types: Mapping[str, str], rows: int) -> Iterator[pyarrow.RecordBatch]:
        """Yield the kept columns; see Source."""
        import pyarrow as pa  # noqa: PLC0415 - takes a while, and .npy does without

        schema = pa.schema({name: pa.type_for_alias(kind) for name, kind in types.items()})
        every = self._rows(0)
        while some := list(islice(every, rows)):
            yield pa.RecordBatch.from_pylist(
                [{name: row.get(name) for name in types} for row in some], schema=schema
            )

    def _rows(self, first: int) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                if number >= first:
                    yield self._row(line, number)

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = "is blank" if not line.strip() else f"is not JSON ({error})"
            raise ToolError(f"{self._path}, line {number + 1} {what}; each line is a row") from None
        if not isinstance(row, dict):
            raise ToolError(
                f"{self._path}, line {number + 1} is not an object; each line is one, such as "
                '{"text": "..."}'
            )
        return row


def _wider(known: str | None, value: Any, where: str, name: str) -> str:
    """Return the type that holds what was seen in a column before, and this value."""
    found = _TYPES.get(type(value))
    if found == "int64" and not -(2**63) <= value < 2**63:
        found = None
    if found is None:
        raise ToolError(
            f"{where} has {str(value)[:40]!r} in `{name}`; --keep takes texts, numbers and booleans"
        )
    if known in (None, found):
        return found
    if {known, found} == {"int64", "double"}:
        return "double"
    raise ToolError(
        f"{where} has a {found} in `{name}`, and rows before it a {known}; a column that is kept "
        "has one type"
    )
