"""The vectors themselves: their size and length, and that each is its own text's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import CORPUS, different_texts, same
from tests.support.client import Client
from tests.support.server import Server
from tests.support.vectors import cosine, cosines, nearest

CHECKS = Checks()

CLIENTS = 32


@CHECKS.add()
def dims(server: Server, client: Client) -> None:
    """Exactly the model's dims, for a short text and for a long one."""
    everything = " ".join(document.text for document in CORPUS.documents)
    assert client.embed(["a", everything]).shape == (2, server.model.dims)


@CHECKS.add()
def unit_norm(_server: Server, client: Client) -> None:
    """Every vector has length 1.

    Scaling in float32 leaves an error of at most half a unit in the last place (6e-8) in each
    number, far below 1e-5 over 1024 of them.
    """
    lengths = np.linalg.norm(client.embed(different_texts(10)).astype(np.float64), axis=1)
    assert np.abs(lengths - 1.0).max() < 1e-5


@CHECKS.add()
def finite(_server: Server, client: Client) -> None:
    """No vector holds NaN or infinity, and none is all zero."""
    found = client.embed(["a", "\n", *different_texts(10)])
    assert np.isfinite(found).all()
    assert np.abs(found).max(axis=1).min() > 0.0


@CHECKS.add()
def distinct(server: Server, client: Client) -> None:
    """Different texts have different vectors."""
    found = client.embed(different_texts(10))
    pairs = ~np.eye(len(found), dtype=bool)
    assert cosines(found, found)[pairs].max() < same(server)


@CHECKS.add()
def deterministic(server: Server, client: Client) -> None:
    """Each request has the same answer again, even after other requests."""
    texts = different_texts(3)
    first = client.embed(texts)
    client.embed(different_texts(20))
    assert cosine(first, client.embed(texts)).min() >= same(server)


@CHECKS.add()
def batch_equals_single(server: Server, client: Client) -> None:
    """Texts have the same vector alone and between shorter and longer neighbours."""
    text = different_texts(1)[0]
    everything = " ".join(document.text for document in CORPUS.documents)
    batch = client.embed(["a", everything, text, "\n", everything])
    assert cosine(batch[2:3], client.embed([text])).min() >= same(server)


@CHECKS.add()
def concurrent_clients(server: Server, client: Client) -> None:
    """Many clients at once, each of its own connection, get their own answers."""
    texts = different_texts(CLIENTS)
    expected = client.embed(texts)
    # Each text must be recognisable, or a mix-up could not be seen.
    assert nearest(expected, expected) == list(range(CLIENTS))
    together = Barrier(CLIENTS)

    def ask(text: str) -> np.ndarray:
        with Client(server.base_url, server.api_key) as own:
            together.wait(timeout=60)
            return np.concatenate([own.embed([text]) for _ in range(3)])

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, texts))
    for number, answer in enumerate(answers):
        assert nearest(answer, expected) == [number] * 3
        assert cosine(answer, expected[number]).min() >= same(server)
