"""The results of one run, as a JSON file that a later run can be compared with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.bench.load import Sample
from tools.bench.machine import Machine
from tools.bench.peers.image import ImageFacts
from tools.bench.peers.ours import PeerFacts
from tools.bench.statistics import percentile
from tools.bench.workloads import Workload
from tools.common.errors import ToolError

_VERSION = 2


@dataclass(frozen=True)
class _Tested:
    """Whom a result is about: a server by its name, on one file of a model."""

    model: str
    server: str
    quantisation: str

    @property
    def label(self) -> str:
        return f"{self.server} {self.quantisation}"


@dataclass(frozen=True)
class Cell(_Tested):
    """One workload on one server: embeddings per second by round, latencies in milliseconds."""

    workload: Workload
    rates: tuple[float, ...]
    requests: int
    p50: float | None
    p95: float | None
    p99: float | None

    @property
    def key(self) -> tuple[str, str, Workload]:
        return self.model, self.label, self.workload


@dataclass(frozen=True)
class Refusal(_Tested):
    """A workload that a peer did not answer, and what it said."""

    workload: Workload
    said: str


@dataclass(frozen=True)
class StartAndMemory(_Tested):
    """What a server needed: seconds to its first answer by start, and peak memory."""

    starts: tuple[float, ...]
    peak_bytes: int


@dataclass(frozen=True)
class Results:
    """One run. ``busy`` is the largest share of CPU time that anything else was seen to take."""

    made: str
    rounds: int
    busy: float | None
    machine: Machine
    image: ImageFacts
    peers: tuple[PeerFacts, ...]
    cells: tuple[Cell, ...]
    refusals: tuple[Refusal, ...]
    servers: tuple[StartAndMemory, ...]


def make_cell(
    model: str, server: str, quantisation: str, workload: Workload, samples: Sequence[Sample]
) -> Cell:
    """Return what all rounds of a workload come to; percentiles are over all their requests."""
    latencies = [1000 * latency for sample in samples for latency in sample.latencies]
    inputs = workload.requests * workload.batch
    return Cell(
        model=model,
        server=server,
        quantisation=quantisation,
        workload=workload,
        rates=tuple(inputs / sample.seconds for sample in samples),
        requests=len(latencies),
        p50=percentile(latencies, 50),
        p95=percentile(latencies, 95),
        p99=percentile(latencies, 99),
    )


def save(results: Results, path: Path) -> None:
    """Write the results; raises ToolError where the file cannot be written."""
    text = json.dumps({"version": _VERSION, **asdict(results)}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text(f"{text}\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise ToolError(f"cannot write {path}: {error.strerror}") from None


def load(path: Path) -> Results:
    """Read results; raises ToolError where the file is not one of this verb's."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("version") != _VERSION:
            raise ToolError(f"{path}: made by another version of nox -s bench; measure again")
        return Results(
            **{
                **values,
                "machine": Machine(**_tuples(values["machine"])),
                "image": ImageFacts(**values["image"]),
                "peers": tuple(PeerFacts(**peer) for peer in values["peers"]),
                "cells": tuple(Cell(**_with_workload(each)) for each in values["cells"]),
                "refusals": tuple(Refusal(**_with_workload(each)) for each in values["refusals"]),
                "servers": tuple(StartAndMemory(**_tuples(server)) for server in values["servers"]),
            }
        )
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"{path} is not a result of nox -s bench: {error}") from None


def _with_workload(values: dict[str, Any]) -> dict[str, Any]:
    return {**_tuples(values), "workload": Workload(**values["workload"])}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(each) if isinstance(each, list) else each for key, each in values.items()}
