"""The results as a person reads them: tables, a page, and what changed since another run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.bench.machine import Machine
from tools.bench.peers.image import ImageFacts
from tools.bench.peers.ours import OURS, PeerFacts
from tools.bench.results import Cell, Results
from tools.bench.statistics import Spread, median_spread, ratios

#: What all others are compared with, where it was measured too: what a user gets by default.
DEFAULT = f"{OURS} Q8_0"
NOTHING = "-"

#: The last column is how many times as fast as this row's server our default is.
HEADER = (
    *("workload", "server", "embeddings/s", "tokens/s", "p50 ms", "p95 ms", "p99 ms"),
    f"{DEFAULT} is times",
)
SERVER_HEADER = ("model", "server", "start, s", "peak memory, GB")
COMPARE_HEADER = ("model", "server", "workload", "then", "now", "times", "")
REFUSAL_HEADER = ("model", "server", "workload", "what it said")


def number(value: float | None) -> str:
    """Write a number with three digits where it has so many; a dash for None."""
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_range(spread: Spread) -> str:
    """Write a median with its range behind it."""
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def rate_rows(results: Results, model: str) -> list[tuple[str, ...]]:
    """Return the rows under HEADER of one model, in the order of the plan."""
    return cell_rows([cell for cell in results.cells if cell.model == model])


def cell_rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """Return the rows under HEADER of one model's cells."""
    defaults = {cell.workload: cell for cell in cells if cell.label == DEFAULT}
    return [_rate_row(cell, defaults.get(cell.workload)) for cell in cells]


def _rate_row(cell: Cell, default: Cell | None) -> tuple[str, ...]:
    rate = median_spread(cell.rates)
    times = ""
    if default is not None and default is not cell:
        times = with_range(ratios(default.rates, cell.rates))
    return (
        cell.workload.name,
        cell.label,
        with_range(rate),
        number(rate.median * cell.workload.tokens),
        number(cell.p50),
        number(cell.p95),
        number(cell.p99),
        times,
    )


def server_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows under SERVER_HEADER."""
    return [
        (
            server.model,
            server.label,
            with_range(median_spread(server.starts)),
            f"{server.peak_bytes / 1e9:.2f}",
        )
        for server in results.servers
    ]


def refusal_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows under REFUSAL_HEADER."""
    return [
        (each.model, each.label, each.workload.name, " ".join(each.said.split()))
        for each in results.refusals
    ]


@dataclass(frozen=True)
class Change:
    """One workload in two runs, in embeddings per second; ``sure`` where the ranges are apart."""

    cell: Cell
    then: Spread
    now: Spread

    @property
    def times(self) -> float:
        return self.now.median / self.then.median

    @property
    def sure(self) -> bool:
        return self.now.low > self.then.high or self.now.high < self.then.low


def changes(then: Results, now: Results) -> list[Change]:
    """Return what both runs measured, in the order of the later one."""
    earlier = {cell.key: cell for cell in then.cells}
    return [
        Change(cell, median_spread(earlier[cell.key].rates), median_spread(cell.rates))
        for cell in now.cells
        if cell.key in earlier
    ]


def change_rows(found: Sequence[Change]) -> list[tuple[str, ...]]:
    """Return the rows under COMPARE_HEADER."""
    return [
        (
            each.cell.model,
            each.cell.label,
            each.cell.workload.name,
            with_range(each.then),
            with_range(each.now),
            f"{each.times:.2f}",
            ("faster" if each.times > 1 else "slower") if each.sure else "within the spread",
        )
        for each in found
    ]


def machine_line(machine: Machine) -> str:
    """Describe a machine in one line."""
    flags = ", ".join(machine.flags) or "no vector extensions that matter"
    return (
        f"{machine.cpu}, {machine.cores} cores ({machine.threads} threads; {flags}), "
        f"{machine.memory_bytes / 2**30:.0f} GiB of memory, Linux {machine.kernel}"
    )


def image_line(image: ImageFacts) -> str:
    """Describe an image in one line."""
    return (
        f"{image.name}, {image.id}, llama.cpp {image.llama_cpp} (origin {image.origin}), "
        f"{image.bytes / 1e6:.0f} MB, {image.compressed_bytes / 1e6:.0f} MB compressed"
    )


def peer_line(peer: PeerFacts) -> str:
    """Describe a peer in one line."""
    line = f"{peer.name}: {peer.what}; {peer.made_of}"
    if peer.bytes is None or peer.compressed_bytes is None:
        return line
    return f"{line}, {peer.bytes / 1e6:.0f} MB, {peer.compressed_bytes / 1e6:.0f} MB compressed"


def page(results: Results, command: str, plots: Sequence[str]) -> str:
    """Return the page in Markdown; ``plots`` are the paths of the pictures, relative to it."""
    models = list(dict.fromkeys(cell.model for cell in results.cells))
    parts = [
        "# Benchmarks",
        f"Made by `{command}` on {results.made}; do not edit, run it again.",
        f"- machine: {machine_line(results.machine)}",
        f"- {OURS}: {image_line(results.image)}",
        *(f"- {peer_line(peer)}" for peer in results.peers),
        f"- {results.rounds} rounds of each workload, the servers in turn, the others stopped. "
        "Rates and ratios are medians over the rounds with the 95 % interval of the median (of "
        "fewer than six rounds, with the range); latencies are percentiles of all requests, given "
        "only where enough were sent. Synthetic weights of the true shape, inputs as token "
        "arrays, settings of the compose profiles. Server and clients share the machine. The last "
        f"column is how many times as fast as that row's server {DEFAULT} is.",
    ]
    for model in models:
        parts += [f"## {model}", markdown_table(HEADER, rate_rows(results, model))]
        parts += [f"![{model}]({plot})" for plot in plots if model in plot]
    if results.refusals:
        parts += ["## Not answered", markdown_table(REFUSAL_HEADER, refusal_rows(results))]
    parts += [
        "## Start and memory",
        "From the start of the container or process to the first healthy answer, the model file "
        "in the page cache; the most memory resident, the mapped model file included.",
        markdown_table(SERVER_HEADER, server_rows(results)),
    ]
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns are aligned in the source too."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )
