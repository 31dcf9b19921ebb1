"""Requests that keep a server on tiny weights busy for seconds."""

from __future__ import annotations

import random

from tests.contract.checks.inputs import CORPUS
from tests.support.boots import Served
from tests.support.waiting import wait_until

_WORDS = sorted({word for each in CORPUS.documents for word in each.text.split()})


def texts(count: int, words: int, seed: int = 0) -> list[str]:
    """Return ``count`` texts of so many words, no two alike: nothing of one serves another."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=words)) for _ in range(count)]


def wait_until_working(server: Served, inputs: int = 1) -> None:
    """Return once at least so many inputs are taken and not done."""
    with server.client() as client:
        wait_until(
            lambda: client.samples().total("jina_waiting_inputs") >= inputs,
            f"{inputs} inputs taken",
        )
