"""Compare the throughput of images: `nox -s paired -- BEFORE AFTER`, with several AFTERs, too.

All serve the same full-shape synthetic weights, and speed does not depend on a weight's value.
They answer in turn, in rounds of a second or so, those that wait stopped: what else happens on the
machine falls on all, so a ratio within a round is worth more than any rate.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import numpy as np

from tools.bench.peers.servers import Booted, Container, awake, frozen
from tools.bench.statistics import ratios
from tools.common.console import progress, say, table
from tools.common.errors import ToolError, run_verb
from tools.facts.models import load_models
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.recipe import QUANTISATIONS
from tools.weights.synthetic import ensure_synthetic

_REQUEST_SECONDS = 300


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


def run_round(http: httpx.Client, workload: Workload, number: int) -> float:
    """Send the round of this number and return its texts per second.

    Raises ToolError when the server does not answer one of them.
    """
    # No two texts alike: a server may keep what it computed for the same beginning.
    texts = [
        " ".join(f"{number} {text} {word}" for word in range(workload.words))
        for text in range(workload.requests * workload.texts)
    ]
    bodies = [texts[at : at + workload.texts] for at in range(0, len(texts), workload.texts)]

    def send(body: list[str]) -> None:
        http.post("/v1/embeddings", json={"input": body}).raise_for_status()

    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(workload.clients) as pool:
            list(pool.map(send, bodies))
    except httpx.HTTPError as error:
        raise ToolError(f"a server under comparison did not answer: {error}") from None
    return len(texts) / (time.perf_counter() - started)


def connect(server: Booted) -> httpx.Client:
    """Return a client of a booted server."""
    return httpx.Client(base_url=server.base_url, timeout=_REQUEST_SECONDS, trust_env=False)


def compare(servers: Sequence[Booted], workload: Workload, rounds: int) -> list[list[float]]:
    """Return each server's texts per second, round by round; each in its turn goes first."""
    speeds: list[list[float]] = [[] for _ in servers]
    clients = [connect(each) for each in servers]
    with progress(rounds, workload.name, unit=" rounds") as advance:
        for number in range(rounds):
            for place in range(len(servers)):
                index = (number + place) % len(servers)
                with awake(servers[index]):
                    speeds[index].append(run_round(clients[index], workload, number))
            advance(1)
    for client in clients:
        client.close()
    return speeds


def main(arguments: Sequence[str]) -> None:
    """Boot images on the same weights, send all the same rounds and print the ratios."""
    models = load_models()
    parser = argparse.ArgumentParser(prog="nox -s paired --", description=main.__doc__)
    parser.add_argument("before", metavar="BEFORE", help="local name of an image")
    parser.add_argument("after", metavar="AFTER", nargs="+", help="and of those to compare with it")
    parser.add_argument("--model", choices=sorted(models.models), default="nano")
    parser.add_argument("--quant", choices=QUANTISATIONS, default="Q8_0")
    parser.add_argument("--rounds", type=int, default=60, help="of each workload")
    options = parser.parse_args(arguments)
    model = models.models[options.model]
    file = ensure_synthetic(models_dir(), model, "full", options.quant)
    images = (options.before, *options.after)
    rows = []
    with ExitStack() as stack:
        servers = [
            Container(stack.enter_context(booted(model, file, image=image, synthetic=True)))
            for image in images
        ]
        for server in servers:
            with connect(server) as http:
                run_round(http, WORKLOADS[0], -1)  # warms up
        with frozen(servers):
            for workload in WORKLOADS:
                before, *others = compare(servers, workload, options.rounds)
                rows.append((workload.name, options.before, f"{np.median(before):.1f}", "", ""))
                for image, after in zip(options.after, others, strict=True):
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
    say(f"\n{options.model} {options.quant}, full shape, {options.rounds} rounds")
    table(rows, ("workload", "image", "texts/s", "times BEFORE", "95 % of the median"))


if __name__ == "__main__":
    sys.exit(run_verb(main))
