"""The load: clients that each send a request, wait for its answer and send the next."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus

#: A batch of long inputs takes a minute on two cores, and waits for those before it.
REQUEST_SECONDS = 1800
#: Requests under way at once that each have a moment of their own, as more waits for its thread.
_AT_ONCE = 256
_PATH = "/v1/embeddings"
_VECTOR = b'"embedding":'

Tokens = list[int]


@dataclass(frozen=True)
class Sample:
    """One round: how long all of it took, and each request, in seconds."""

    seconds: float
    latencies: tuple[float, ...]


class _Bodies:
    """The requests that are still to be sent, for clients in several threads."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._left: Iterator[bytes] = iter(bodies)
        self._lock = threading.Lock()

    def take(self) -> bytes | None:
        with self._lock:
            return next(self._left, None)

    def drop(self) -> None:
        with self._lock:
            self._left = iter(())


def send_all(base_url: str, bodies: Sequence[bytes], *, clients: int, vectors: int) -> Sample:
    """Send all requests by ``clients`` clients at once, each over one connection.

    Every answer must hold ``vectors`` embeddings. Raises ToolError when one does not, or a
    request fails.
    """
    # Not httpx: it takes about a millisecond of a core for a request, time that the server on
    # the same machine would lack.
    parts = urlsplit(base_url)
    todo = _Bodies(bodies)
    start = threading.Barrier(clients + 1)

    def client() -> list[float]:
        # It connects with its first request: llama-server gives up a connection that it has
        # waited on for seconds, as it may on a busy machine until all the clients are there.
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=REQUEST_SECONDS
        )
        took: list[float] = []
        start.wait()
        try:
            while (body := todo.take()) is not None:
                began = time.perf_counter()
                _send(connection, body, vectors)
                took.append(time.perf_counter() - began)
        except BaseException:
            todo.drop()
            raise
        finally:
            connection.close()
        return took

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _ in range(clients)]
        start.wait()
        began = time.perf_counter()
        try:
            latencies = [each for future in running for each in future.result()]
        except (OSError, http.client.HTTPException) as error:
            raise ToolError(f"the server at {base_url} did not answer: {error!r}") from None
        finally:
            todo.drop()  # for Ctrl-C: what is under way is waited for, the rest is not sent
        return Sample(time.perf_counter() - began, tuple(latencies))


def send_at(base_url: str, bodies: Sequence[bytes], moments: Sequence[float]) -> list[float]:
    """Send each request at its moment, in seconds from now, over a connection of its own.

    Return the seconds from each moment to the end of its answer, which holds one embedding. A
    request that leaves late counts from its moment all the same, or a server that stalls would
    look better for what is not sent meanwhile (coordinated omission). Raises ToolError as
    send_all does.
    """
    parts = urlsplit(base_url)
    over = threading.Event()
    began = time.perf_counter()

    def one(body: bytes, moment: float) -> float:
        if over.wait(began + moment - time.perf_counter()):
            return 0.0  # nobody reads it
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=REQUEST_SECONDS
        )
        try:
            _send(connection, body, 1)
        finally:
            connection.close()
        return time.perf_counter() - began - moment

    with ThreadPoolExecutor(min(len(bodies), _AT_ONCE)) as pool:
        try:
            return list(pool.map(one, bodies, moments))
        except (OSError, http.client.HTTPException) as error:
            raise ToolError(f"the server at {base_url} did not answer: {error!r}") from None
        finally:
            over.set()  # for Ctrl-C, too: what is under way is waited for, the rest is not sent


def _send(connection: http.client.HTTPConnection, body: bytes, vectors: int) -> None:
    connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        said = content[:300].decode(errors="replace")
        raise ToolError(f"the server answered {answer.status} to a request: {said}")
    if content.count(_VECTOR) != vectors:
        raise ToolError(
            f"the server answered with {content.count(_VECTOR)} vectors to {vectors} inputs"
        )


def seconds_for(base_url: str, inputs: Sequence[Tokens], clients: int) -> float:
    """Return the seconds in which ``clients`` at once, an input a request, embed all inputs."""
    bodies = [json.dumps({"input": tokens}).encode() for tokens in inputs]
    return send_all(base_url, bodies, clients=clients, vectors=1).seconds


def random_inputs(base_url: str, count: int, length: int, seed: int = 0) -> list[Tokens]:
    """Return ``count`` different inputs of exactly ``length`` tokens, always the same ones.

    They are random words of the corpus and the model's end token. Different, so that no server can
    answer one from another's work.
    """
    text = " ".join(document.text for document in load_corpus().documents)
    words = _tokens(base_url, text, special=False)
    end = _tokens(base_url, "a", special=True)[-1]
    generator = random.Random(f"{seed} {length}")  # noqa: S311 - no secret
    return [[*generator.choices(words, k=length - 1), end] for _ in range(count)]


def _tokens(base_url: str, text: str, *, special: bool) -> Tokens:
    body = {"content": text, "add_special": special}
    try:
        response = httpx.post(f"{base_url}/tokenize", json=body, trust_env=False, timeout=60)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise ToolError(f"the server at {base_url} did not answer /tokenize: {error}") from None
    return list(response.json()["tokens"])
