"""How fast a server embeds: inputs a second with a number of clients at once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus

#: The slowest request measured here: 32768 tokens on a small CPU.
_REQUEST_SECONDS = 3600

Tokens = list[int]


def random_inputs(base_url: str, count: int, length: int, seed: int = 0) -> list[Tokens]:
    """Return ``count`` different inputs of exactly ``length`` tokens, always the same ones.

    They are random words of the corpus and the model's end token. Different, so that no server can
    answer one from another's work.
    """
    text = " ".join(document.text for document in load_corpus().documents)
    with _client(base_url) as http:
        words = _post(http, "/tokenize", {"content": text, "add_special": False})["tokens"]
        end = _post(http, "/tokenize", {"content": "a", "add_special": True})["tokens"][-1]
    generator = random.Random(f"{seed} {length}")  # noqa: S311 - no secret
    return [[*generator.choices(words, k=length - 1), end] for _ in range(count)]


def seconds_for(base_url: str, inputs: Sequence[Tokens], clients: int) -> float:
    """Return the seconds in which ``clients`` at once, an input a request, embed all inputs."""
    shares = [inputs[number::clients] for number in range(clients)]

    def send(share: Sequence[Tokens]) -> None:
        with _client(base_url) as http:
            for tokens in share:
                _post(http, "/v1/embeddings", {"input": tokens})

    with ThreadPoolExecutor(clients) as pool:
        started = time.monotonic()
        # Taken out one by one, so that a failure of any is raised.
        for _ in pool.map(send, shares):
            pass
        return time.monotonic() - started


def _client(base_url: str) -> httpx.Client:
    return httpx.Client(base_url=base_url, timeout=_REQUEST_SECONDS, trust_env=False)


def _post(http: httpx.Client, path: str, body: dict[str, object]) -> dict[str, list[int]]:
    try:
        response = http.post(path, json=body)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise ToolError(f"the server at {http.base_url} did not answer {path}: {error}") from None
    answer: dict[str, list[int]] = response.json()
    return answer
