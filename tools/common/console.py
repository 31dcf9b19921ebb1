"""The few ways in which this project talks to a person."""

from __future__ import annotations

import sys
import time
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


@contextmanager
def rated_progress(
    total: int, label: str, unit: str, *, done: int = 0, every: float = 30.0
) -> Iterator[Callable[[int], object]]:
    """Show how much of ``total`` is done, how fast and how long it still takes, for hours of work.

    ``done`` is what was done before. Yields a function that takes each further amount. A bar on a
    terminal; elsewhere a plain line every so many seconds. Both go to stderr.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, initial=done, desc=label, unit=f" {unit}") as bar:
            yield bar.update
        return

    before, began = done, time.monotonic()
    said = began

    def advance(amount: int) -> None:
        nonlocal done, said
        done += amount
        now = time.monotonic()
        if now - said >= every or done == total:
            said = now
            rate = (done - before) / max(now - began, 1e-9)
            left = time_left((total - done) / rate)
            line = f"{label}: {done:,} of {total:,} {unit}, {rate:.1f}/s, {left} left"
            print(line, file=sys.stderr, flush=True)

    yield advance


def time_left(seconds: float) -> str:
    """Return a time as a person says it, such as 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
