"""Memory under the worst that clients may send at once: it stays below the profile's own limit.

On weights of the true shape, with compose's limits. Takes some minutes a model:
``nox -s test -- -n 0 -s -m slow tests/runtime/test_server_memory.py``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.support.boots import MODELS, Case, Served, each_model, served
from tests.support.containers import inspect, memory_bytes, memory_peak
from tests.support.sockets import RawConnection
from tests.support.waiting import wait_until

#: More clients than the bytes that may wait have room for; each sends as much as one request may.
CLIENTS = 24
#: Seconds of it: several rounds of what each client sends, and of what it leaves unread.
SECONDS = 180
#: Seconds that a client waits for its answer before it leaves and sends the next one.
PATIENCE = 20
#: Seconds for one micro-batch of the largest size on slow cores, which is not broken off.
LONGEST_BATCH = 600.0
#: A little below the largest body that is taken, 8 MB.
BODY = 8 * 1024**2 - 1024


def filled(before: bytes, unit: bytes, after: bytes, size: int = BODY) -> bytes:
    """``unit`` again and again between the two others, ``size`` bytes at most."""
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def tokens(inputs: int) -> bytes:
    """Token arrays of one digit each, which take the most memory for each byte."""
    each = filled(b"[", b"1,", b"1]", (BODY - 100) // inputs - 1)
    return b'{"input":[' + b",".join([each] * inputs) + b"]}"


#: The bodies that take the most memory: by what they are parsed to, by what they are refused for.
WORST = {
    "one text": filled(b'{"input":"', b"ab ", b'"}'),
    "one text of signs": filled(b'{"input":"', b"\\u0001", b'"}'),
    "one text, cut": filled(b'{"truncate":true,"input":"', b"ab ", b'"}'),
    "one token array": tokens(1),
    "2048 token arrays": tokens(2048),
    "too many inputs": filled(b'{"input":[', b'"a",', b'"b"]}'),
    "2048 texts": b'{"input":[' + b",".join([b'"' + b"a b " * 1000 + b'"'] * 2048) + b"]}",
    "2048 short texts": b'{"input":[' + b",".join([b'"a"'] * 2048) + b"]}",
    "empty lists": filled(b'{"input":[', b"[],", b"[]]}"),
    "many fields": b"{" + b",".join(b'"%06x":0' % n for n in range(700_000)) + b"}",
    "text to tokens": filled(b'{"content":"', b"ab ", b'"}'),
    "tokens to text": filled(b'{"tokens":[', b"1,", b"1]}"),
}
PATHS = {"text to tokens": "/tokenize", "tokens to text": "/detokenize"}


def send_worst(server: Served, seed: int, enough: threading.Event) -> set[int]:
    """Send one of the worst after the other; the statuses that came."""
    rng = random.Random(seed)
    statuses = set()
    while not enough.is_set():
        name = rng.choice(sorted(WORST))
        # Refused before its end, a client may not get all of it out; or it has waited enough.
        with (
            suppress(OSError, AssertionError),
            RawConnection(server.base_url, timeout=PATIENCE) as connection,
        ):
            path = PATHS.get(name, "/v1/embeddings")
            connection.send_head("POST", path, {"Content-Length": str(len(WORST[name]))})
            connection.send(WORST[name])
            statuses.add(connection.answer().status_code)
    return statuses


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_model
def test_the_worst_that_is_allowed_fits_the_limit(
    patched: str, model: str, record_property: Callable[[str, object], None]
) -> None:
    assert max(len(body) for body in WORST.values()) < 9 * 1024**2
    known = MODELS[model]
    with served(patched, Case(known, "compose"), size="full") as server:
        enough = threading.Event()
        with ThreadPoolExecutor(CLIENTS) as pool:
            sent = [pool.submit(send_worst, server, seed, enough) for seed in range(CLIENTS)]
            try:
                time.sleep(SECONDS)  # the load itself, not a wait for anything
            finally:
                enough.set()
        server.assert_alive()
        peak = memory_bytes(server.container, "VmHWM")
        whole = memory_peak(server.container)
        limit = inspect(server.container)["HostConfig"]["Memory"]
        with server.client() as client:
            wait_until(
                lambda: client.samples().total("jina_waiting_inputs") == 0,
                "what clients left behind is given up",
                LONGEST_BATCH,
            )
            assert client.embed(["a text"]).shape == (1, known.dims)
        server.assert_alive()
    statuses = set().union(*(each.result() for each in sent))
    record_property("peak_resident_mb", peak // 1024**2)
    print(
        f"\n{model}: resident {peak / 1e9:.2f} GB at most, the container {whole / 1e9:.2f} GB"
        f" with cached files, of {limit / 1e9:.2f} GB; statuses {sorted(statuses)}"
    )
    assert peak < limit
    assert {400, 503} <= statuses <= {200, 400, 408, 413, 503}
