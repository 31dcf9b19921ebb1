"""A soak as a picture: one panel a figure, over time, with a line for each restart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.soak.noted import Noted

PANELS = {
    "memory_mb": "own memory, MB",
    "descriptors": "file descriptors",
    "threads": "threads",
    "p99_ms": "p99 of one short text, ms",
}
#: Pixels.
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 720, 90, 60, 34, 46


def draw(rows: Sequence[Noted], title: str, path: Path) -> None:
    """Write the picture as SVG."""
    parts = [f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>']
    for number, (name, label) in enumerate(PANELS.items()):
        top = _TOP + number * (_HEIGHT + _GAP)
        parts += panel(rows, name, label, top)
    height = _TOP + len(PANELS) * (_HEIGHT + _GAP)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 20}"'
        f' height="{height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n",
        encoding="utf-8",
    )


def panel(rows: Sequence[Noted], name: str, label: str, top: float) -> list[str]:
    """Return a figure's frame, its line, and the lines of restarts."""
    values = [float(getattr(row, name)) for row in rows]
    end, highest = max(row.seconds for row in rows) or 1.0, max(values) or 1.0
    bottom = top + _HEIGHT

    def across(row: Noted) -> float:
        return _LEFT + _WIDTH * row.seconds / end

    points = " ".join(
        f"{across(row):.1f},{bottom - _HEIGHT * value / highest:.1f}"
        for row, value in zip(rows, values, strict=True)
    )
    restarts = [
        f'<line x1="{across(row):.1f}" y1="{top}" x2="{across(row):.1f}" y2="{bottom}"'
        ' stroke="silver"/>'
        for before, row in pairwise(rows)
        if row.life != before.life
    ]
    return [
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none"'
        ' stroke="gray"/>',
        *restarts,
        f'<polyline points="{points}" fill="none" stroke="steelblue"/>',
        f'<text x="{_LEFT}" y="{top - 4}">{label}</text>',
        f'<text x="{_LEFT - 5}" y="{top + 10}" text-anchor="end">{highest:.0f}</text>',
        f'<text x="{_LEFT - 5}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{bottom + 14}" text-anchor="end">{end / 60:.0f} min</text>',
    ]
