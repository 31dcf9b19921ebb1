"""The clients of a soak: good ones, wrong ones, slow ones, and those that leave."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from tests.contract.checks.errors import BAD_REQUESTS, BadRequest
from tests.contract.checks.inputs import SAME_QUANTISED
from tests.contract.checks.routes import NOT_SERVED
from tests.support.client import Client, describe, vectors
from tests.support.crowds import PATIENCE_SECONDS
from tests.support.sockets import RawConnection
from tests.support.vectors import cosine
from tests.support.work import texts
from tools.facts.models import Model

#: A text whose vector is known from the start: it must never become another.
KNOWN = "a text whose vector is known"
#: What became of a request for which there was no server.
LOST = "lost at a restart"
_BAD = sorted(name for name in BAD_REQUESTS if name != "nested_deeply")


class Soak:
    """What the clients of one soak share: what they must get, and what they got."""

    def __init__(self, base_url: str, model: Model) -> None:
        self.base_url = base_url
        self.model = model
        self.expected = vectors(self.ask(input=KNOWN))[0]
        #: The token that ends every text, and so every array of tokens.
        self.end = self.ask("/tokenize", content=KNOWN, add_special=True)["tokens"][-1]
        self.enough = threading.Event()
        #: Set while the server is restarted: a refused connection is then no fault.
        self.restarting = threading.Event()
        #: Grows when a restart begins and when it ends: a slow client that was there before either
        #: may notice only later that its connection is gone.
        self.restarts = 0
        self.statuses: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._seconds: list[float] = []
        self._p99 = 0.0

    def ask(self, path: str = "/v1/embeddings", **body: Any) -> dict[str, Any]:
        """Send a good request; its answer."""
        response = self.send("POST", path, json=body)
        assert response.status_code == 200, describe(response)
        return dict(response.json())

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request on a connection of its own."""
        with Client(self.base_url, timeout=PATIENCE_SECONDS) as client:
            return client.request(method, path, **options)

    def p99(self) -> float:
        """Return the p99 of single short texts since the last call, in seconds.

        Where there was none since then, that of the last call.
        """
        with self._lock:
            seconds, self._seconds = self._seconds, []
        if seconds:
            self._p99 = float(np.percentile(seconds, 99))
        return self._p99

    def run(self, seed: int) -> None:
        """Be one client after the other until it is enough; what is wrong is noted."""
        rng = random.Random(seed)
        while not self.enough.is_set():
            client = rng.choices(list(CLIENTS), weights=list(CLIENTS.values()))[0]
            restarts = self.restarts
            try:
                outcome = client(self, rng)
            except (httpx.TransportError, OSError, AssertionError) as error:
                outcome = f"{client.__name__}: {error!r}"
                if not self.restarting.is_set() and restarts == self.restarts:
                    with self._lock:
                        self.faults.append(outcome[:1000])
                    continue
                outcome = LOST
                self.enough.wait(0.5)  # or it would do nothing but be refused
            with self._lock:
                self.statuses[outcome] += 1

    def good(self, path: str, body: dict[str, Any], count: int) -> str:
        """Send a good request, which may only be sent back for a while."""
        response = self.send("POST", path, json=body)
        if response.status_code == 503:
            assert response.headers.get("Retry-After"), describe(response)
            time.sleep(0.2)  # shorter than it says: the load is what this is about
            return "503"
        assert response.status_code == 200, describe(response)
        found = vectors(response.json())
        assert len(found) == count, describe(response)
        assert np.isfinite(found).all(), describe(response)
        return "200"

    def noted(self, seconds: float) -> None:
        """Note how long a single short text took."""
        with self._lock:
            self._seconds.append(seconds)


def short_text(soak: Soak, rng: random.Random) -> str:
    """One short text; now and then the known one, whose vector is looked at."""
    start = time.monotonic()
    if rng.random() < 0.1:
        found = vectors(soak.ask(input=KNOWN))[0]
        assert cosine(found, soak.expected) >= SAME_QUANTISED, "another vector for the same text"
        status = "200"
    else:
        status = soak.good("/v1/embeddings", {"input": texts(1, 12, rng.randrange(2**32))}, 1)
    if status == "200":
        soak.noted(time.monotonic() - start)
    return status


def batch(soak: Soak, rng: random.Random) -> str:
    """A batch of texts of mixed lengths, in any of the ways to ask."""
    seed = rng.randrange(2**32)
    inputs = [text for words in (3, 20, 120) for text in texts(rng.randrange(1, 12), words, seed)]
    path = rng.choice(["/v1/embeddings", "/query/v1/embeddings", "/document/v1/embeddings"])
    body: dict[str, Any] = {"input": inputs}
    if rng.random() < 0.5:
        body["encoding_format"] = "base64"
    if rng.random() < 0.3:
        body["dimensions"] = rng.choice(soak.model.matryoshka)
    return soak.good(path, body, len(inputs))


def long_text(soak: Soak, rng: random.Random) -> str:
    """A long input, seldom one of the whole context."""
    length = soak.model.context if rng.random() < 0.02 else rng.choice([600, 2000, 4000])
    tokens = [*(rng.randrange(256, 400) for _ in range(length - 1)), soak.end]
    return soak.good("/v1/embeddings", {"input": [tokens]}, 1)


def mistaken(soak: Soak, rng: random.Random) -> str:
    """A request that must be refused."""
    bad = BAD_REQUESTS[rng.choice(_BAD)]
    if rng.random() < 0.3:
        bad = BadRequest(b"{}", path=rng.choice(NOT_SERVED))
    response = soak.send(bad.method, bad.path, content=bad.body)
    assert 400 <= response.status_code < 500 or response.status_code == 503, describe(response)
    return str(response.status_code)


def leaving(soak: Soak, rng: random.Random) -> str:
    """A client that sends much and does not wait."""
    content = json.dumps({"input": texts(200, 40, rng.randrange(2**32))}).encode()
    sent = len(content) if rng.random() < 0.5 else rng.randrange(len(content))
    with RawConnection(soak.base_url) as connection:
        connection.send_head("POST", "/v1/embeddings", {"Content-Length": str(len(content))})
        connection.send(content[:sent])
    return "left"


def slow(soak: Soak, rng: random.Random) -> str:
    """A client that dawdles over its header or its body, and may then leave it at that."""
    body = b'{"input": "a text that comes slowly"}'
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    cuts = sorted(rng.sample(range(1, len(whole)), 4))
    with RawConnection(soak.base_url, timeout=PATIENCE_SECONDS) as connection:
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            connection.send(whole[start:end])
            if soak.enough.wait(rng.random()):
                return "left"
        if rng.random() < 0.3:
            return "left"
        return str(connection.answer().status_code)


def watching(soak: Soak, _rng: random.Random) -> str:
    """Monitoring."""
    for path in ("/health", "/metrics", "/v1/models"):
        response = soak.send("GET", path)
        assert response.status_code == 200, describe(response)
    return "200"


#: How often each of them comes.
CLIENTS: dict[Callable[[Soak, random.Random], str], int] = {
    short_text: 50,
    batch: 20,
    long_text: 5,
    mistaken: 12,
    leaving: 4,
    slow: 5,
    watching: 4,
}
