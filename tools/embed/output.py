"""Put the parts of a job together into one file, a piece at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.common.errors import ToolError
from tools.embed.parts import Asked, Part, Parts, VectorsOf, written
from tools.embed.source import Checked, Source
from tools.embed.wanted import TYPES

#: Rows that are in memory at a time, and in a row group of Parquet.
ROWS = 8192

SUFFIXES = (".parquet", ".npy")


def write_output(path: Path, source: Source, asked: Asked, found: Checked, parts: Parts) -> None:
    """Write the vectors of all rows to ``path``, which appears when all of it is there."""
    with written(path, parts.folder) as unfinished:
        if path.suffix == ".npy":
            _write_npy(unfinished, asked, found, parts.all())
        else:
            _write_parquet(unfinished, source, asked, found, parts.all())


def _write_npy(path: Path, asked: Asked, found: Checked, parts: list[Part]) -> None:
    np.lib.format.open_memmap(
        path, mode="w+", dtype=TYPES[asked.type], shape=(found.rows, asked.numbers)
    )
    for part in parts:
        # A map for each part: what one has written would count as this process's memory.
        array = np.lib.format.open_memmap(path, mode="r+")
        array[part.first : part.first + part.rows] = np.load(part.path, mmap_mode="r")


def _write_parquet(
    path: Path, source: Source, asked: Asked, found: Checked, parts: list[Part]
) -> None:
    from tools.embed.parquet import parquet_writer  # noqa: PLC0415 - pyarrow takes a while

    vectors = VectorsOf(parts, asked)
    done = 0
    with parquet_writer(path) as write:
        if not found.types:
            while len(some := vectors.take(ROWS)):
                write(None, some)
            return
        for kept in source.kept(found.types, ROWS):
            some = vectors.take(kept.num_rows)
            if len(some) != kept.num_rows:
                break
            write(kept, some)
            done += len(some)
    if done != found.rows:
        raise ToolError("the input was changed while it was embedded; embed it anew")
