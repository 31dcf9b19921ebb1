"""What a soak notes of the server every few seconds, and whether any of it has grown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

from tests.support.containers import docker

_SCRIPT = "grep -E '^(RssAnon|Threads):' /proc/1/status; ls /proc/1/fd | wc -l"

#: What may never grow while the load stays the same, each with the least difference that counts:
#: glibc gives a thread's heap back in parts of its 64 MB only; a descriptor more or less is the
#: healthcheck's; a request of full context before a short one is its p99.
LEAST = {"memory_mb": 64.0, "descriptors": 4.0, "threads": 4.0, "p99_ms": 1000.0}


@dataclass(frozen=True)
class Noted:
    """The server at one moment.

    ``life`` counts its restarts; ``memory_mb`` is what is resident of its own, the mapped model
    file left out; ``p99_ms`` is that of single short texts since the row before.
    """

    seconds: float
    life: int
    memory_mb: float
    descriptors: float
    threads: float
    p99_ms: float
    requests: int


def look(container: str) -> dict[str, float]:
    """Return the memory, the descriptors and the threads of a container's server."""
    lines = docker("exec", container, "sh", "-euc", _SCRIPT).splitlines()
    known = dict(line.split(":") for line in lines if ":" in line)
    return {
        "memory_mb": float(known["RssAnon"].split()[0]) / 1024,
        "threads": float(known["Threads"]),
        "descriptors": float(lines[-1]),
    }


def write(rows: Sequence[Noted], path: Path) -> None:
    """Write the rows as CSV, a column for each field."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Noted)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def growth(rows: Sequence[Noted]) -> list[str]:
    """Say what has grown in the first life of the server; nothing where nothing has.

    The life's first quarter is left out, in which caches and heaps fill. The second quarter shows
    how far a figure goes up and down under this very load. The last quarter's median may be above
    the second's by no more than that range: a leak adds up over half of the run, noise does not.
    """
    life = [row for row in rows if row.life == 0]
    quarter = len(life) // 4
    assert quarter >= 4, f"{len(life)} rows are too few to judge"
    early, late = life[quarter : 2 * quarter], life[-quarter:]
    grown = []
    for name, least in LEAST.items():
        before = [float(getattr(row, name)) for row in early]
        after = median(float(getattr(row, name)) for row in late)
        allowed = max(least, max(before) - min(before))
        if after - median(before) > allowed:
            grown.append(f"{name}: {median(before):.1f} to {after:.1f}, {allowed:.1f} allowed")
    return grown
