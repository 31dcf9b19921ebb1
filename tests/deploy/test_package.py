"""The package: the same bytes each time, and the same chart."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.deploy.rendered import NEWEST, VARIANTS
from tools.chart.__main__ import packaged
from tools.chart.helm import package, render
from tools.common.errors import ToolError
from tools.facts.paths import CHART


def test_it_is_the_same_twice_whatever_time_it_is(tmp_path: Path) -> None:
    first, second, later = (tmp_path / name for name in ("first", "second", "later"))
    assert package(first, 1_000_000_000).read_bytes() == package(second, 1_000_000_000).read_bytes()
    assert package(first, 1_000_000_000).read_bytes() != package(later, 1_000_000_001).read_bytes()


def test_one_that_differs_the_second_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((1, 2))
    monkeypatch.setattr(
        "tools.chart.__main__.package", lambda folder, _time: package(folder, next(times))
    )
    with pytest.raises(ToolError, match="has other bytes the second time"):
        packaged(tmp_path)


def test_it_has_every_file_and_renders_the_same(tmp_path: Path) -> None:
    made = package(tmp_path, 1_000_000_000)
    with tarfile.open(made) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert packed == {str(path.relative_to(CHART)) for path in CHART.rglob("*") if path.is_file()}
    values = VARIANTS["everything"].values
    assert render(values, NEWEST, chart=made) == render(values, NEWEST)
