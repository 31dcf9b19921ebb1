"""One picture a model: how the rate grows with clients, and what longer inputs cost."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.bench.results import Cell, Results
from tools.bench.statistics import median_spread

#: Clients in the picture over lengths, and the length in the picture over clients.
SHOWN_CLIENTS = 4
SHOWN_TOKENS = 16


def draw(results: Results, model: str, path: Path) -> None:
    """Write a model's picture as SVG, the same bytes for the same results."""
    matplotlib.rcParams.update({"svg.hashsalt": model, "svg.fonttype": "none"})
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_clients, by_length = figure.subplots(1, 2)
    labels = dict.fromkeys(cell.label for cell in results.cells if cell.model == model)
    for label in labels:
        cells = [
            cell
            for cell in results.cells
            if (cell.model, cell.label, cell.workload.batch) == (model, label, 1)
        ]
        over_clients = [cell for cell in cells if cell.workload.tokens == SHOWN_TOKENS]
        over_length = [cell for cell in cells if cell.workload.clients == SHOWN_CLIENTS]
        _line(by_clients, label, [(c.workload.clients, c, 1) for c in over_clients])
        _line(
            by_length,
            label,
            [(c.workload.tokens, c, c.workload.tokens) for c in over_length],
        )
    _label(by_clients, f"inputs of {SHOWN_TOKENS} tokens", "clients", "embeddings/s")
    _label(by_length, f"{SHOWN_CLIENTS} clients", "tokens in an input", "tokens/s")
    figure.suptitle(model)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _line(axes: Axes, label: str, points: list[tuple[int, Cell, int]]) -> None:
    """Draw medians with their ranges; each point is a place, its cell, and a factor."""
    spreads = [median_spread([rate * factor for rate in cell.rates]) for _, cell, factor in points]
    axes.errorbar(
        [place for place, _, _ in points],
        [each.median for each in spreads],
        yerr=[
            [each.median - each.low for each in spreads],
            [each.high - each.median for each in spreads],
        ],
        label=label,
        marker="o",
        capsize=3,
    )


def _label(axes: Axes, title: str, over: str, what: str) -> None:
    axes.set_title(title)
    axes.set_xscale("log", base=2)
    axes.set_xlabel(over)
    axes.set_ylabel(what)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
