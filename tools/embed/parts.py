"""What a job has done so far: parts of rows in order, in a folder that outlives the process.

A part is a .npy file that is complete: it is written under another name, forced to the disk and
renamed. The manifest says what the vectors are of, so that no others are put beside them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from tools.common.errors import ToolError
from tools.embed.source import Checked
from tools.embed.wanted import TYPES, Vectors

_MANIFEST, _LOCK = "manifest.json", "lock"


@dataclass(frozen=True)
class Asked:
    """All that the vectors of a job depend on; ``numbers`` is how many a vector has."""

    input: str
    column: str
    keep: Sequence[str]
    side: str
    dimensions: int | None
    type: str
    model: str
    model_dimensions: int
    numbers: int


@dataclass(frozen=True)
class Part:
    """Rows that are done, ``first`` counted from 0."""

    path: Path
    first: int
    rows: int


@contextmanager
def written(path: Path, folder: Path) -> Iterator[Path]:
    """Yield a path in ``folder`` to write to, whose file then is ``path``, all at once.

    It is there for good: nothing of it is lost when the machine ends.
    """
    unfinished = folder / f"{path.name}.unfinished"
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    names = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(names)
    finally:
        os.close(names)


class Parts:
    """The parts of one output, in the folder beside it."""

    def __init__(self, output: Path) -> None:
        self.folder = output.with_name(f"{output.name}.parts")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs away; raises ToolError where one is at work.

        The folder is there meanwhile, and stays where a job has begun.
        """
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ToolError(
                f"another run is at work in {self.folder}; wait for it, or end it"
            ) from None
        try:
            yield
        finally:
            lock.release()
            if not self.has_begun():
                with suppress(OSError):  # another run may begin just now
                    (self.folder / _LOCK).unlink(missing_ok=True)
                    self.folder.rmdir()

    def has_begun(self) -> bool:
        """Tell whether there is a job, done or not."""
        return (self.folder / _MANIFEST).exists()

    def begun(self, asked: Asked) -> Checked | None:
        """Return what an earlier run found of the same input, or None where there was none.

        Raises ToolError where it asked for something else.
        """
        if not self.has_begun():
            return None
        manifest = self.folder / _MANIFEST
        try:
            noted = json.loads(manifest.read_text(encoding="utf-8"))
            before, found = noted["asked"], Checked(noted["rows"], noted["types"])
        except (ValueError, KeyError, TypeError):
            raise ToolError(f"{manifest} is not ours; move {self.folder} away") from None
        now = _as_json(asked)
        for name in now:
            if before.get(name) != now[name]:
                raise ToolError(
                    f"{self.folder} was begun with another {name.replace('_', ' ')} "
                    f"({before.get(name)}, and now {now[name]}); run what it was begun with, or "
                    "remove the folder to start anew"
                )
        return found

    def begin(self, asked: Asked, found: Checked) -> None:
        """Note what the parts are of."""
        noted = {"asked": _as_json(asked), "rows": found.rows, "types": dict(found.types)}
        with written(self.folder / _MANIFEST, self.folder) as path:
            path.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")

    def add(self, first: int, vectors: Vectors) -> None:
        """Store the vectors of the rows from ``first`` on."""
        part = self.folder / f"{first:012}-{len(vectors)}.npy"
        with written(part, self.folder) as path, path.open("wb") as file:
            np.save(file, vectors)

    def all(self) -> list[Part]:
        """Return the parts in order; raises ToolError where one is gone."""
        parts: list[Part] = []
        for path in sorted(self.folder.glob("*.npy")):
            first, _, rows = path.stem.partition("-")
            part = Part(path, int(first), int(rows))
            if part.first != end_of(parts):
                raise ToolError(
                    f"{self.folder} has no part with row {end_of(parts) + 1}; remove the folder "
                    "to start anew"
                )
            parts.append(part)
        return parts

    def remove(self) -> None:
        """Remove the parts, and the manifest last, by which a rerun knows what it finds."""
        for path in self.folder.iterdir():
            if path.name not in (_MANIFEST, _LOCK):
                path.unlink()
        (self.folder / _MANIFEST).unlink(missing_ok=True)


def end_of(parts: Sequence[Part]) -> int:
    """Return how many rows are done."""
    return parts[-1].first + parts[-1].rows if parts else 0


class VectorsOf:
    """The vectors of all parts, taken in order; only those that are taken are in memory."""

    def __init__(self, parts: Sequence[Part], asked: Asked) -> None:
        self._left = iter(parts)
        self._part = np.empty((0, asked.numbers), TYPES[asked.type])

    def take(self, rows: int) -> Vectors:
        """Return the vectors of the next rows, fewer at the end."""
        taken = []
        while rows:
            if not len(self._part):
                part = next(self._left, None)
                if part is None:
                    break
                self._part = np.load(part.path, mmap_mode="r")
            taken.append(np.array(self._part[:rows]))
            self._part = self._part[rows:]
            rows -= len(taken[-1])
        return np.concatenate(taken) if taken else np.array(self._part)


def _as_json(asked: Asked) -> dict[str, Any]:
    return {name: list(value) if name == "keep" else value for name, value in asdict(asked).items()}
