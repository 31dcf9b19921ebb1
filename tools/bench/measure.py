"""One measurement: all servers of a model, booted together, that take turns round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tools.bench.load import Sample, send_all
from tools.bench.machine import available_bytes, busy_share
from tools.bench.peers.ours import OURS, Contender
from tools.bench.peers.servers import MeasuredServer, awake, frozen
from tools.bench.results import Cell, Refusal, StartAndMemory, make_cell
from tools.bench.workloads import Workload, bodies, end_token
from tools.common.console import loud, progress, say
from tools.common.errors import ToolError
from tools.facts.models import Model
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

_WARM_UP = Workload(16, 1, 1)
#: What a server may need beyond what it has when it is started, in bytes: ours grows by 0.6 GB on
#: small (docs/measured/summary.md). Other builds of llama.cpp also keep the contexts of its inputs,
#: in up to 8 GiB; how much of it depends on what they are sent.
_GROWTH = 1 << 30


@dataclass(frozen=True)
class Subject:
    """A booted server under measurement."""

    contender: Contender
    booted: MeasuredServer


@dataclass(frozen=True)
class Measured:
    """What one model's servers came to."""

    cells: list[Cell]
    refusals: list[Refusal]
    servers: list[StartAndMemory]
    busy: float | None


#: Raises ToolError where the servers of a model do not give the same vectors.
AgreementCheck = Callable[[Model, Sequence[Subject]], None]


def run_rounds(
    model: Model, subjects: Sequence[Subject], plan: Sequence[Workload], rounds: int
) -> tuple[list[Cell], list[Refusal]]:
    """Send every workload to every stopped server in turn, ``rounds`` times.

    What a peer cannot answer is not asked of it again, and belongs to its result. Raises
    ToolError where ours does not answer.
    """
    pairs = [(workload, subject) for workload in plan for subject in subjects]
    samples: dict[tuple[Workload, str], list[Sample]] = {
        (workload, subject.contender.label): [] for workload, subject in pairs
    }
    refused: dict[tuple[Workload, str], str] = {}
    with progress(rounds * len(samples), model.name, unit=" runs") as advance:
        for number in range(rounds):
            for workload in plan:
                # Who goes first alternates.
                for subject in subjects if number % 2 == 0 else reversed(subjects):
                    key = workload, subject.contender.label
                    if key not in refused:
                        try:
                            samples[key].append(run_once(model, subject, workload, number))
                        except ToolError as error:
                            if subject.contender.server == OURS:
                                raise
                            refused[key] = str(error)
                            loud(f"{subject.contender.label}, {workload.name}: {error}")
                    advance(1)
    cells, refusals = [], []
    for workload, subject in pairs:
        contender = subject.contender
        key = workload, contender.label
        named = (model.name, contender.server, contender.quantisation, workload)
        if key in refused:
            refusals.append(Refusal(*named, refused[key]))
        else:
            cells.append(make_cell(*named, samples[key]))
    return cells, refusals


def run_once(model: Model, subject: Subject, workload: Workload, number: int) -> Sample:
    """Wake a server, send one round of a workload, and stop it again."""
    url = subject.booted.base_url
    end = end_token(model) if subject.contender.takes_tokens else None
    with awake(subject.booted):
        # What it had in caches and as sleeping threads is cold after its rest.
        warm_up = bodies(_WARM_UP, (number, 1), end)[:1]
        send_all(url, warm_up, clients=1, vectors=1)
        requests = bodies(workload, (number, 0), end)
        return send_all(url, requests, clients=workload.clients, vectors=workload.batch)


def measure(
    model: Model,
    contenders: Sequence[Contender],
    plan: Sequence[Workload],
    rounds: int,
    check: AgreementCheck,
) -> Measured:
    """Boot every contender on a model, check that they agree, and measure all of it."""
    with ExitStack() as stack:
        subjects: list[Subject] = []
        for contender in contenders:
            file = ensure_synthetic(models_dir(), model, "full", contender.quantisation)
            say(f"starting {model.name}, {contender.label}")
            try:
                server = stack.enter_context(contender.boot(model, file))
            except ToolError as error:
                raise ToolError(f"{contender.label} on {model.name}: {error}") from None
            subjects.append(Subject(contender, server))
            require_memory(model, len(subjects))
        check(model, subjects)
        with frozen([subject.booted for subject in subjects]):
            busy = busy_share()
            cells, refusals = run_rounds(model, subjects, plan, rounds)
            servers = []
            for subject in subjects:
                try:
                    servers.append(start_and_memory(model, subject, rounds))
                except ToolError as error:
                    if subject.contender.server == OURS:
                        raise
                    loud(f"{subject.contender.label}, start and memory: {error}")
    return Measured(cells, refusals, servers, busy)


def require_memory(model: Model, servers: int) -> None:
    """Raise ToolError where the servers that are up leave too little memory to be measured."""
    left = available_bytes()
    if left is not None and left < servers * _GROWTH:
        raise ToolError(
            f"{servers} servers of {model.name} leave {left / 1e9:.1f} GB of memory, and each may "
            "need another; all are in memory at once, so name fewer with --peers or --quant"
        )


def start_and_memory(model: Model, subject: Subject, rounds: int) -> StartAndMemory:
    """Ask a stopped server for its memory, and start it anew ``rounds`` times."""
    peak = subject.booted.peak_bytes()
    with awake(subject.booted):
        starts = tuple(subject.booted.restart_seconds() for _ in range(rounds))
    contender = subject.contender
    return StartAndMemory(model.name, contender.server, contender.quantisation, starts, peak)
