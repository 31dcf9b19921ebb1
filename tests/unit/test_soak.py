"""The soak's own parts: what it calls growth, and its picture."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.soak.chart import PANELS, draw
from tests.support.soak.noted import LEAST, Noted, growth, write


def steady(count: int = 100) -> list[Noted]:
    """A server that does the same all the time, with the ups and downs of its load."""
    rng = random.Random(0)
    return [
        Noted(
            seconds=float(number),
            life=0,
            memory_mb=300 + rng.uniform(-40, 40),
            descriptors=60 + rng.randrange(-20, 20),
            threads=40 + rng.randrange(-20, 20),
            p99_ms=rng.uniform(100, 2000),
            requests=10 * number,
        )
        for number in range(count)
    ]


def test_ups_and_downs_are_no_growth() -> None:
    assert growth(steady()) == []


@pytest.mark.parametrize("name", LEAST)
def test_what_rises_slowly_is_growth(name: str) -> None:
    """Over the whole run by several times its ups and downs."""
    rows = steady()
    span = max(LEAST[name], 4000.0 if name == "p99_ms" else 80.0)
    rising = [
        replace(row, **{name: getattr(row, name) + 5 * span * number / len(rows)})
        for number, row in enumerate(rows)
    ]
    (said,) = growth(rising)
    assert said.startswith(f"{name}: ")


def test_a_start_is_no_growth() -> None:
    """Caches and heaps fill in the first quarter."""
    rows = [replace(row, memory_mb=row.memory_mb / 3) for row in steady()[:25]] + steady()[25:]
    assert growth(rows) == []


def test_only_the_first_life_is_judged() -> None:
    """What a restarted server has is less, not more."""
    later = [replace(row, life=1, memory_mb=5000.0) for row in steady(40)]
    assert growth([*steady(), *later]) == []


def test_too_few_rows_are_no_proof() -> None:
    with pytest.raises(AssertionError, match="too few"):
        growth(steady(15))


def test_the_picture_has_a_line_a_figure_and_one_a_restart(tmp_path: Path) -> None:
    rows = [*steady(50), *(replace(row, life=1, seconds=row.seconds + 50) for row in steady(50))]
    draw(rows, "nano & others, 30 minutes", tmp_path / "soak.svg")
    svg = ElementTree.parse(tmp_path / "soak.svg").getroot()  # noqa: S314
    kinds = [element.tag.rpartition("}")[2] for element in svg.iter()]
    assert kinds.count("polyline") == kinds.count("line") == len(PANELS)


def test_the_figures_are_written_whole(tmp_path: Path) -> None:
    rows = steady(8)
    write(rows, tmp_path / "soak.csv")
    with (tmp_path / "soak.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(row["memory_mb"]) for row in read] == [row.memory_mb for row in rows]
