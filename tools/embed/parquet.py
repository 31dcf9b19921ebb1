"""Parquet: rows that are read, and vectors that are written beside kept columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tools.common.errors import ToolError
from tools.embed.source import Checked, checked_text
from tools.embed.wanted import Vectors

#: The column of the vectors in what is written.
EMBEDDING = "embedding"

#: Rows that are read at a time.
_ROWS = 4096


class Parquet:
    """Rows of a Parquet file, read piece by piece however large its row groups are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Without the buffer a whole row group of a column would be read at once.
            self._file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise ToolError(f"{path} cannot be read as Parquet: {error}") from None
        self._schema = self._file.schema_arrow

    def check(self, column: str, keep: Sequence[str]) -> Checked:
        """Read all texts; see Source."""
        for name in (column, *keep):
            if name not in self._schema.names:
                raise ToolError(
                    f"{self._path} has no column `{name}`; it has {', '.join(self._schema.names)}"
                )
        rows = 0
        for rows, text in enumerate(self.texts(column, 0), 1):
            checked_text(text, f"{self._path}, row {rows}", column)
        return Checked(rows, {name: str(self._schema.field(name).type) for name in keep})

    def texts(self, column: str, first: int) -> Iterator[str]:
        """Yield the texts; see Source."""
        groups, skipped = self._groups_from(first)
        batches = self._file.iter_batches(_ROWS, row_groups=groups, columns=[column])
        left = first - skipped
        for batch in batches:
            yield from batch.column(0).slice(left).to_pylist()
            left = max(0, left - batch.num_rows)

    def kept(self, types: Mapping[str, str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the kept columns in the input's own types; see Source."""
        for batch in self._file.iter_batches(rows, columns=list(types)):
            yield batch.select(list(types))

    def _groups_from(self, first: int) -> tuple[list[int], int]:
        """Return the row groups with the rows from ``first`` on, and the rows of those before."""
        skipped, group = 0, 0
        facts = self._file.metadata
        while group < facts.num_row_groups:
            rows = facts.row_group(group).num_rows
            if skipped + rows > first:
                break
            skipped, group = skipped + rows, group + 1
        return list(range(group, facts.num_row_groups)), skipped


@contextmanager
def parquet_writer(path: Path) -> Iterator[Any]:
    """Yield a function that writes kept columns, a RecordBatch or None, and vectors beside them.

    What it is given at a time becomes a row group.
    """
    writers: list[pq.ParquetWriter] = []

    def write(kept: pa.RecordBatch | None, vectors: Vectors) -> None:
        flat = pa.array(vectors.reshape(-1))
        rows = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        columns = {} if kept is None else dict(zip(kept.schema.names, kept.columns, strict=True))
        table = pa.table({**columns, EMBEDDING: rows})
        if not writers:
            # Vectors have no values that come again, which a dictionary would need.
            names = list(columns)
            writers.append(pq.ParquetWriter(path, table.schema, use_dictionary=names or False))
        writers[0].write_table(table, row_group_size=len(vectors))

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
