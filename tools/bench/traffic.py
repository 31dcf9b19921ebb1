"""How long a search waits in traffic as people send it: `nox -s bench -- --traffic IMAGE ...`.

The tables of the benchmark have clients that keep their connections and wait for each other. Here
each request has a connection of its own: searches at random moments (Poisson arrivals) at shares
of what the server can do, a burst of a hundred, and searches beside clients that send documents
all the time. A search's time counts from the moment at which it was meant to be sent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from tools.bench.load import send_all, send_at
from tools.bench.peers.servers import Container, awake, frozen
from tools.bench.statistics import percentile
from tools.bench.workloads import end_token, random_tokens
from tools.common.console import say
from tools.facts.models import Model
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.recipe import Quantisation
from tools.weights.synthetic import ensure_synthetic

HEADER = ("traffic", "image", "p50", "p95", "p99", "longest")
#: A row under HEADER; times in milliseconds.
Row = tuple[str, str, str, str, str, str]

#: Tokens of a search: words that a person types.
SEARCH_TOKENS = 16
#: Tokens of a document, as many short ones as long ones (log-uniform), at most the context.
DOCUMENT_TOKENS = (512, 8192)
DOCUMENT_CLIENTS = 4
SHARES = (0.50, 0.80, 0.95)
#: Searches of a row: two above the 99th percentile.
SEARCHES = 200
#: Searches a second beside documents: few, so that they wait for documents and not for each other.
BESIDE_DOCUMENTS = 2.0
BURST = 100
#: Searches that come again: of so many, the n-th most frequent n times as rare as the first (Zipf's
#: law), after so many searches that nobody measures.
DIFFERENT_SEARCHES = 10_000
EARLIER_SEARCHES = 1_000


@dataclass(frozen=True)
class Inputs:
    """Makes requests for one model, no two with the same input."""

    model: Model
    generator: np.random.Generator

    def _body(self, count: int, length: int) -> bytes:
        arrays = random_tokens(self.generator, count, length, end_token(self.model))
        return json.dumps({"input": arrays, "encoding_format": "base64"}).encode()

    def searches(self, count: int) -> list[bytes]:
        return [self._body(1, SEARCH_TOKENS) for _ in range(count)]

    def searches_in_one(self, count: int) -> bytes:
        return self._body(count, SEARCH_TOKENS)

    def document(self) -> bytes:
        shortest, longest = DOCUMENT_TOKENS
        longest = min(longest, self.model.context)
        length = shortest * (longest / shortest) ** self.generator.random()
        return self._body(1, int(length))


def arrivals(generator: np.random.Generator, count: int, rate: float) -> list[float]:
    """Return the seconds at which ``count`` requests come that know nothing of each other.

    ``rate`` is their number a second: the gaps of a Poisson process are exponential.
    """
    moments: list[float] = np.cumsum(generator.exponential(1 / rate, count)).tolist()
    return moments


@contextmanager
def documents_sent(base_url: str, inputs: Inputs) -> Iterator[None]:
    """Let clients send documents, each the next as soon as it has an answer, during the block."""
    enough = threading.Event()
    lock = threading.Lock()

    def client() -> None:
        while not enough.is_set():
            with lock:
                body = inputs.document()
            send_all(base_url, [body], clients=1, vectors=1)

    with ThreadPoolExecutor(DOCUMENT_CLIENTS) as pool:
        clients = [pool.submit(client) for _ in range(DOCUMENT_CLIENTS)]
        try:
            yield
        finally:
            enough.set()
        for each in clients:
            each.result()


def repeated(generator: np.random.Generator, count: int) -> list[int]:
    """Return which of DIFFERENT_SEARCHES each of ``count`` searches is, by Zipf's law."""
    weights = 1 / np.arange(1, DIFFERENT_SEARCHES + 1)
    drawn: list[int] = generator.choice(
        DIFFERENT_SEARCHES, count, p=weights / weights.sum()
    ).tolist()
    return drawn


def share_seen(earlier: Sequence[int], later: Sequence[int]) -> float:
    """Return the share of the later searches that came before, among the earlier or the later."""
    seen = set(earlier)
    known = 0
    for each in later:
        known += each in seen
        seen.add(each)
    return known / len(later)


def capacity(base_url: str, inputs: Inputs) -> float:
    """Return the searches a second that 16 clients get who keep their connections."""
    send_all(base_url, inputs.searches(SEARCHES), clients=16, vectors=1)  # warms up
    bodies = inputs.searches(2 * SEARCHES)
    return len(bodies) / send_all(base_url, bodies, clients=16, vectors=1).seconds


def _row(traffic: str, image: str, seconds: Sequence[float]) -> Row:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value * 1000:.0f}"

    p50, p95, p99 = (shown(percentile(seconds, percent)) for percent in (50, 95, 99))
    return traffic, image, p50, p95, p99, shown(max(seconds))


def measure(url: str, image: str, inputs: Inputs, most: float) -> list[Row]:
    """Send the server at ``url`` all kinds of traffic and return a row of each.

    ``most`` is the searches a second of which the shares are taken. Raises ToolError where the
    server does not answer a request.
    """
    rows = []

    alone = send_all(url, inputs.searches(SEARCHES), clients=1, vectors=1)
    rows.append(_row("one search at a time", image, alone.latencies))

    for share in SHARES:
        moments = arrivals(inputs.generator, 2 * SEARCHES, share * most)
        took = send_at(url, inputs.searches(len(moments)), moments)
        rows.append(_row(f"searches at {share:.0%} of {most:.0f}/s", image, took))

    bodies = inputs.searches(DIFFERENT_SEARCHES)
    earlier = repeated(inputs.generator, EARLIER_SEARCHES)
    later = repeated(inputs.generator, 2 * SEARCHES)
    send_all(url, [bodies[i] for i in earlier], clients=16, vectors=1)
    moments = arrivals(inputs.generator, len(later), SHARES[1] * most)
    took = send_at(url, [bodies[i] for i in later], moments)
    again = f"{share_seen(earlier, later):.0%} seen before"
    rows.append(_row(f"searches at {SHARES[1]:.0%}, {again}", image, took))

    together = send_at(url, inputs.searches(BURST), [0.0] * BURST)
    rows.append(_row(f"{BURST} searches at once", image, together))
    request = send_all(url, [inputs.searches_in_one(BURST)], clients=1, vectors=BURST)
    rows.append(_row("the same in one request", image, request.latencies))

    moments = arrivals(inputs.generator, SEARCHES, BESIDE_DOCUMENTS)
    with documents_sent(url, inputs):
        took = send_at(url, inputs.searches(SEARCHES), moments)
    rows.append(_row(f"searches beside {DOCUMENT_CLIENTS} clients' documents", image, took))
    return rows


def run(
    model: Model, images: Sequence[str], quantisation: Quantisation, cache_mb: int | None
) -> list[Row]:
    """Boot the images on the same weights and return their rows, those of each traffic together.

    Each is measured while the others are stopped, and again with a cache of ``cache_mb`` where
    that is given. All get searches at the same rates, shares of what the first can do.
    """
    file = ensure_synthetic(models_dir(), model, "full", quantisation)
    settings = {image: (image, "0") for image in images}
    if cache_mb is not None:
        settings |= {f"{image}, cache": (image, str(cache_mb)) for image in images}
    with ExitStack() as stack:
        servers = []
        for image, cache in settings.values():
            variables = {"JINA_CACHE_MB": cache}
            running = booted(model, file, image=image, synthetic=True, variables=variables)
            servers.append(Container(stack.enter_context(running)))
        with frozen(servers):
            with awake(servers[0]):
                most = capacity(servers[0].base_url, Inputs(model, np.random.default_rng(0)))
            measured = []
            for server, name in zip(servers, settings, strict=True):
                say(f"{model.name}: {name}")
                with awake(server):
                    inputs = Inputs(model, np.random.default_rng(1))
                    measured.append(measure(server.base_url, name, inputs, most))
    return [row for rows in zip(*measured, strict=True) for row in rows]
