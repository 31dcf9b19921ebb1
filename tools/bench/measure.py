"""One measurement: all servers of a model, booted together, that take turns round by round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tools.bench.load import Sample, send_all
from tools.bench.machine import busy_share
from tools.bench.results import Cell, Server, make_cell
from tools.bench.servers import awake, frozen, peak_bytes, restart_seconds
from tools.bench.workloads import Workload, bodies
from tools.catalog import Model
from tools.console import progress, say
from tools.fetch import models_dir
from tools.stack import Running, booted
from tools.synthetic import Quantisation, ensure_synthetic

_WARM_UP = Workload(16, 1, 1)


@dataclass(frozen=True)
class Subject:
    """A booted server under measurement."""

    quantisation: Quantisation
    running: Running


@dataclass(frozen=True)
class Measured:
    """What one model's servers came to."""

    cells: list[Cell]
    servers: list[Server]
    busy: float | None


def run_rounds(
    model: Model, subjects: Sequence[Subject], plan: Sequence[Workload], rounds: int
) -> list[Cell]:
    """Send every workload to every stopped server in turn, ``rounds`` times."""
    samples: dict[tuple[Workload, Quantisation], list[Sample]] = {
        (workload, subject.quantisation): [] for workload in plan for subject in subjects
    }
    with progress(rounds * len(samples), model.name, unit=" runs") as advance:
        for number in range(rounds):
            for workload in plan:
                # Who goes first alternates.
                for subject in subjects if number % 2 == 0 else reversed(subjects):
                    sample = run_once(subject, workload, number)
                    samples[workload, subject.quantisation].append(sample)
                    advance(1)
    return [
        make_cell(model.name, quantisation, workload, rounds_of_it)
        for (workload, quantisation), rounds_of_it in samples.items()
    ]


def run_once(subject: Subject, workload: Workload, number: int) -> Sample:
    """Wake a server, send one round of a workload, and stop it again."""
    url = subject.running.base_url
    with awake(subject.running):
        # What it had in caches and as sleeping threads is cold after its rest.
        warm_up = bodies(_WARM_UP, (number, 1))[:1]
        send_all(url, warm_up, clients=1, vectors=1)
        requests = bodies(workload, (number, 0))
        return send_all(url, requests, clients=workload.clients, vectors=workload.batch)


def measure(
    model: Model,
    quantisations: Sequence[Quantisation],
    image: str,
    plan: Sequence[Workload],
    rounds: int,
) -> Measured:
    """Boot a model in each quantisation and measure all of it."""
    with ExitStack() as stack:
        subjects = []
        for quantisation in quantisations:
            file = ensure_synthetic(models_dir(), model, "full", quantisation)
            say(f"starting {model.name} {quantisation}")
            running = stack.enter_context(booted(model, file, image=image, synthetic=True))
            subjects.append(Subject(quantisation, running))
        with frozen([subject.running for subject in subjects]):
            busy = busy_share()
            cells = run_rounds(model, subjects, plan, rounds)
            servers = []
            for subject in subjects:
                peak = peak_bytes(subject.running)
                with awake(subject.running):
                    starts = tuple(restart_seconds(subject.running) for _ in range(rounds))
                servers.append(Server(model.name, subject.quantisation, starts, peak))
    return Measured(cells, servers, busy)
