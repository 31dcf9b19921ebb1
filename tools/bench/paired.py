"""Compare the throughput of images, round by round: `nox -s bench -- --images BEFORE AFTER`.

All serve the same full-shape synthetic weights, and speed does not depend on a weight's value.
They answer in turn, in rounds of a second or so, those that wait stopped: what else happens on the
machine falls on all, so a ratio within a round is worth more than any rate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from tools.bench.load import send_all
from tools.bench.peers.servers import Container, MeasuredServer, awake, frozen
from tools.bench.statistics import ratios
from tools.common.console import progress
from tools.facts.models import Model
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.recipe import Quantisation
from tools.weights.synthetic import ensure_synthetic

#: How often each workload is sent unless asked for otherwise.
ROUNDS = 60
HEADER = ("workload", "image", "texts/s", "times the first", "95 % of the median")
#: A row under HEADER.
Row = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Workload:
    """What one round sends: how many requests of how many texts, by how many clients at once."""

    name: str
    requests: int
    texts: int
    words: int
    clients: int


#: Where a server's own work weighs most beside the model's (short texts), the usual load of an
#: ingestion (batches), and where attention weighs most (about 1000 tokens each).
WORKLOADS = (
    Workload("short texts, 1 client", requests=40, texts=1, words=8, clients=1),
    Workload("short texts, 4 clients", requests=64, texts=1, words=8, clients=4),
    Workload("batches of 32", requests=2, texts=32, words=24, clients=2),
    Workload("long texts, 4 clients", requests=4, texts=1, words=128, clients=4),
)


def run_round(base_url: str, workload: Workload, number: int) -> float:
    """Send the round of this number and return its texts per second.

    Raises ToolError when the server does not answer one of them.
    """
    # No two texts alike: a server may keep what it computed for the same beginning.
    texts = [
        " ".join(f"{number} {text} {word}" for word in range(workload.words))
        for text in range(workload.requests * workload.texts)
    ]
    bodies = [
        json.dumps({"input": texts[at : at + workload.texts]}).encode()
        for at in range(0, len(texts), workload.texts)
    ]
    sample = send_all(base_url, bodies, clients=workload.clients, vectors=workload.texts)
    return len(texts) / sample.seconds


def compare(
    servers: Sequence[MeasuredServer], workload: Workload, rounds: int
) -> list[list[float]]:
    """Return each server's texts per second, round by round; each in its turn goes first."""
    speeds: list[list[float]] = [[] for _ in servers]
    with progress(rounds, workload.name, unit=" rounds") as advance:
        for number in range(rounds):
            for place in range(len(servers)):
                index = (number + place) % len(servers)
                with awake(servers[index]):
                    speeds[index].append(run_round(servers[index].base_url, workload, number))
            advance(1)
    return speeds


def run(model: Model, images: Sequence[str], quantisation: Quantisation, rounds: int) -> list[Row]:
    """Boot the images on the same weights, send all the same rounds and return the ratios.

    The first image is the one that the others are compared with.
    """
    file = ensure_synthetic(models_dir(), model, "full", quantisation)
    rows = []
    with ExitStack() as stack:
        servers = [
            Container(stack.enter_context(booted(model, file, image=image, synthetic=True)))
            for image in images
        ]
        for server in servers:
            run_round(server.base_url, WORKLOADS[0], -1)  # warms up
        with frozen(servers):
            for workload in WORKLOADS:
                before, *others = compare(servers, workload, rounds)
                rows.append((workload.name, images[0], f"{np.median(before):.1f}", "", ""))
                for image, after in zip(images[1:], others, strict=True):
                    ratio = ratios(after, before)
                    rows.append(
                        (
                            workload.name,
                            image,
                            f"{np.median(after):.1f}",
                            f"{ratio.median:.3f}",
                            f"{ratio.low:.3f} to {ratio.high:.3f}",
                        )
                    )
    return rows
