"""The few ways in which this project talks to a person."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm


def say(text: str) -> None:
    """Print one plain line to stdout."""
    print(text, flush=True)


def loud(text: str) -> None:
    """Print one line to stderr that cannot be overlooked: something is not as preferred."""
    print(f"!! {text}", file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> None:
    """Print rows under a header, columns aligned; columns of numbers to the right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    numeric = [
        bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        for i in range(len(header))
    ]
    for line in cells:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        say("  ".join(aligned).rstrip())


@contextmanager
def progress(total: int, label: str, unit: str = "B") -> Iterator[Callable[[int], object]]:
    """Show how much of ``total`` is done; yields a function that takes each further amount.

    A bar on a terminal; elsewhere, such as in a CI log, a plain line for each tenth. Both go to
    stderr. The amount may be negative when something has to be done again.
    """
    if sys.stderr.isatty():
        scale = unit == "B"
        with tqdm(total=total, desc=label, unit=unit, unit_scale=scale, unit_divisor=1024) as bar:
            yield bar.update
        return

    done = tenth = 0

    def advance(amount: int) -> None:
        nonlocal done, tenth
        done += amount
        reached = 10 * done // total if total else 10
        if reached > tenth:
            print(f"{label}: {reached * 10}%", file=sys.stderr, flush=True)
        tenth = reached

    yield advance
