"""Many requests at once, each of a client and a connection of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from tests.support.sockets import RawConnection

#: Seconds in which a server must answer what it answers in milliseconds. A machine that is busy
#: with other tests may take a second or two for it; a server that stalls takes far longer.
PROMPT_SECONDS = 5.0
#: Seconds that a request with much work may take on a slow machine.
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """What became of a request: its answer, or why there was none, after so many seconds."""

    response: httpx.Response | None
    error: str
    seconds: float

    @property
    def status(self) -> int:
        """The answer's status; 0 where none came."""
        return self.response.status_code if self.response is not None else 0


def post(base_url: str, path: str = "/v1/embeddings", **body: Any) -> httpx.Response:
    """Send one request on a fresh connection, with as little machinery as it takes."""
    content = json.dumps(body).encode()
    with RawConnection(base_url, PATIENCE_SECONDS) as connection:
        kind = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        connection.send_head("POST", path, {**kind, "Connection": "close"})
        connection.send(content)
        return connection.answer("POST", path)


def get(base_url: str, path: str) -> httpx.Response:
    """Ask for something on a fresh connection."""
    with RawConnection(base_url, PATIENCE_SECONDS) as connection:
        connection.send_head("GET", path, {"Connection": "close"})
        return connection.answer("GET", path)


def timed(ask: Callable[[], httpx.Response]) -> Outcome:
    """Send a request and say what became of it."""
    start = time.monotonic()
    try:
        response, error = ask(), ""
    except (AssertionError, OSError, httpx.HTTPError) as failure:
        response, error = None, repr(failure)
    return Outcome(response, error, time.monotonic() - start)


def all_at_once(count: int, ask: Callable[[int], httpx.Response]) -> list[Outcome]:
    """Start ``ask(0)``, ``ask(1)``, ... in the same moment and wait for all of them."""
    together = threading.Barrier(count)

    def one(number: int) -> Outcome:
        together.wait(timeout=PATIENCE_SECONDS)
        return timed(partial(ask, number))

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@contextmanager
def in_flight(count: int, ask: Callable[[int], httpx.Response]) -> Iterator[list[Future[Outcome]]]:
    """Keep ``count`` requests under way; their outcomes are there at the end at the latest."""
    with ThreadPoolExecutor(count) as pool:
        yield [pool.submit(timed, partial(ask, number)) for number in range(count)]


@contextmanager
def kept_busy(clients: int, ask: Callable[[int], httpx.Response]) -> Iterator[list[Outcome]]:
    """Let so many clients ask, each again as soon as it has its answer, while the block runs.

    The outcomes so far are in the list; all of them once the block has ended.
    """
    enough = threading.Event()
    outcomes: list[Outcome] = []

    def ask_again(number: int) -> None:
        while not enough.is_set():
            outcomes.append(timed(partial(ask, number)))

    with ThreadPoolExecutor(clients) as pool:
        for number in range(clients):
            pool.submit(ask_again, number)
        try:
            yield outcomes
        finally:
            enough.set()
