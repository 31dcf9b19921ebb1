"""One picture a model: for each workload, the rates of all servers as bars."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.bench.peers.ours import OURS
from tools.bench.results import Cell, Results
from tools.bench.statistics import median_spread

_COLUMNS = 4
_OURS_COLOUR, _OTHERS_COLOUR = "tab:blue", "lightgray"
#: Inches: of a panel's width, of a bar's height, and around the bars of a panel.
_PANEL, _BAR, _AROUND = 3.2, 0.22, 0.8


def draw(results: Results, model: str, path: Path) -> None:
    """Write a model's picture as SVG, the same bytes for the same results.

    Bars are medians in tokens per second, the lines on them their ranges.
    """
    matplotlib.rcParams.update({"svg.hashsalt": model, "svg.fonttype": "none"})
    cells = [cell for cell in results.cells if cell.model == model]
    labels = list(dict.fromkeys(cell.label for cell in cells))
    workloads = list(dict.fromkeys(cell.workload for cell in cells))
    columns = min(_COLUMNS, len(workloads))
    rows = ceil(len(workloads) / columns)
    size = ((columns + 0.5) * _PANEL, rows * (len(labels) * _BAR + _AROUND))
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes, workload in zip(panels, workloads, strict=False):
        _bars(axes, labels, [cell for cell in cells if cell.workload == workload])
        axes.set_title(workload.name, fontsize="medium")
    for axes in panels[len(workloads) :]:
        axes.set_visible(False)
    figure.suptitle(f"{model}, tokens/s")
    figure.savefig(path, format="svg", metadata={"Date": None})


def _bars(axes: Axes, labels: list[str], cells: list[Cell]) -> None:
    """Draw one workload; a server that did not answer it has its place and no bar."""
    tokens_by_round = [[rate * cell.workload.tokens for rate in cell.rates] for cell in cells]
    spreads = [median_spread(each) for each in tokens_by_round]
    axes.barh(
        [labels.index(cell.label) for cell in cells],
        [each.median for each in spreads],
        xerr=[
            [each.median - each.low for each in spreads],
            [each.high - each.median for each in spreads],
        ],
        color=[_OURS_COLOUR if cell.server == OURS else _OTHERS_COLOUR for cell in cells],
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(visible=True, axis="x", alpha=0.3)
