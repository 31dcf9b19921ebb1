"""The input: a file of rows, of which each has a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tools.common.errors import ToolError

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Checked:
    """What was found when the whole input was read: its rows, and the types of kept columns."""

    rows: int
    types: Mapping[str, str]


class Source(Protocol):
    """Rows of a file, in order; they are read as they are needed, never all at once."""

    def check(self, column: str, keep: Sequence[str]) -> Checked:
        """Read all rows; ToolError, which names the row, where one cannot be embedded or kept."""

    def texts(self, column: str, first: int) -> Iterator[str]:
        """Yield the text of each row from ``first`` on, which counts from 0."""

    def kept(self, types: Mapping[str, str], rows: int) -> Iterator[pyarrow.RecordBatch]:
        """Yield the columns that are kept, of up to so many rows at a time."""


def open_source(path: Path) -> Source:
    """Return the rows of a file; raises ToolError where it is none that is known."""
    if not path.is_file():
        raise ToolError(f"{path}: there is no such file")
    if path.suffix in (".jsonl", ".ndjson"):
        from tools.embed.jsonl import Jsonl  # noqa: PLC0415 - only one of the two is needed

        return Jsonl(path)
    if path.suffix == ".parquet":
        from tools.embed.parquet import Parquet  # noqa: PLC0415 - pyarrow takes a while to import

        return Parquet(path)
    raise ToolError(f"{path}: the input is a file that ends in .jsonl, .ndjson or .parquet")


def checked_text(value: Any, where: str, column: str) -> str:
    """Return a text that the server can be asked for; ToolError, which says where it is, else."""
    if not isinstance(value, str):
        what = "nothing" if value is None else repr(value)[:40]
        raise ToolError(f"{where} has {what} in `{column}`, and no text; --column names another")
    if not value:
        raise ToolError(
            f"{where} has an empty text in `{column}`, which has no vector; take the row out"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ToolError(
            f"{where} has half a character in `{column}`, at place {error.start}: a surrogate "
            "without its other one; mend the text"
        ) from None
    return value
