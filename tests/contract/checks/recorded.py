"""Requests of clients that are too heavy to install, replayed: recorded.toml has the sources."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import different_texts, same
from tests.contract.checks.retrieval import MODELS
from tests.support.client import Client, describe, vectors_of_any_api
from tests.support.server import Server
from tests.support.vectors import cosine

CHECKS = Checks()

FILE = Path(__file__).parents[1] / "recorded.toml"
PREFIXES = {"query": MODELS.query_prefix, "document": MODELS.document_prefix, "": ""}


@dataclass(frozen=True)
class Recorded:
    """A request as a client sends it; ``refused`` is what a refusal must say, if it is one."""

    client: str
    name: str
    body: Mapping[str, Any]
    path: str = "/v1/embeddings"
    headers: Mapping[str, str] | None = None
    side: str = ""
    reads: tuple[str, ...] = ()
    refused: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the bare llama-server answers it as well: no side, no size, nothing to refuse."""
        plain = {"model", "input", "encoding_format", "user", "embedding_type", "normalized"}
        return self.path == Recorded.path and set(self.body) <= plain and self.refused is None

    @property
    def check(self) -> str:
        """The name of the check that replays it."""
        words = re.findall(r"[a-z0-9]+", f"{self.client} {self.name}".lower())
        return "_".join(["replays", *words])


def clients() -> list[dict[str, Any]]:
    """Return the clients, each with its source and its requests."""
    found: list[dict[str, Any]] = tomllib.loads(FILE.read_text(encoding="utf-8"))["clients"]
    return found


def recorded() -> Iterator[Recorded]:
    """Yield every request of every client."""
    for client in clients():
        for each in client["requests"]:
            yield Recorded(client["name"], **each)


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """Return a body with the texts and the model's name in their places."""
    if isinstance(value, dict):
        return {name: filled(each, words) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, words) for each in value]
    return value.format(**words) if isinstance(value, str) else value


def read(answer: Any, field: str) -> Any:
    """Return a field of an answer, such as ``data.0.embedding``; raises where it is not there."""
    for name in field.split("."):
        answer = answer[int(name) if name.isdigit() else name]
    return answer


def replayed(server: Server, client: Client, request: Recorded) -> None:
    """The answer has what the client reads, and each vector is that of its text on its side."""
    one, two = different_texts(2)
    words = {"one": one, "two": two, "model": client.models()[0]}
    response = client.request(
        "POST", request.path, json=filled(request.body, words), headers=dict(request.headers or {})
    )
    if request.refused is not None:
        assert response.status_code == 400, describe(response)
        assert request.refused in response.json()["error"]["message"], describe(response)
        return
    assert response.status_code == 200, describe(response)
    answer = response.json()
    for field in request.reads:
        try:
            assert read(answer, field) is not None, field
        except (KeyError, IndexError, TypeError):
            raise AssertionError(f"the answer has no {field}: {describe(response)}") from None
    size = {"dimensions": request.body["dimensions"]} if "dimensions" in request.body else {}
    found = vectors_of_any_api(answer)
    assert len(found) == 2
    for vector, text in zip(found, (one, two), strict=True):
        # One at a time, so that two that change places are seen.
        expected = client.embed([PREFIXES[request.side] + text], **size)
        assert cosine(vector[None], expected).min() >= same(server), text


for request in recorded():
    bare = None if request.is_plain else "llama-server knows no sides, sizes or foreign tokens"
    CHECKS.add(request.check, xfail=bare)(partial(replayed, request=request))
