"""Tasks: a server has the weights for one, says which, and refuses what asks for another.

Only retrieval has sides. Every text of the other tasks has the prefix of documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_model_not_found
from tests.contract.checks.inputs import different_texts, same
from tests.contract.checks.retrieval import MODELS
from tests.support.client import Client, describe, vectors_of_any_api
from tests.support.server import Server
from tests.support.vectors import cosine
from tools.facts.models import OTHER_TASKS, RETRIEVAL

CHECKS = Checks()

_NO_TASKS = "llama-server knows no tasks"

DOCUMENT = MODELS.document_prefix

#: How Jina, Cohere, Elasticsearch and Gemini call the tasks, and the fields that they do it in.
WORDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    RETRIEVAL: (("task", "retrieval.passage"), ("task_type", "RETRIEVAL_DOCUMENT")),
    "text-matching": (("task", "text-matching"), ("task_type", "SEMANTIC_SIMILARITY")),
    "clustering": (
        ("task", "clustering"),
        ("taskType", "CLUSTERING"),
        ("input_type", "clustering"),
        ("task", "separation"),
    ),
    "classification": (
        ("task", "classification"),
        ("task_type", "CLASSIFICATION"),
        ("input_type", "classification"),
    ),
}


@dataclass(frozen=True)
class Way:
    """A way to ask for embeddings: a route, where its texts go, and other fields."""

    path: str = "/v1/embeddings"
    inputs: str = "input"
    fields: Mapping[str, Any] = field(default_factory=dict)


@CHECKS.add(xfail=_NO_TASKS)
def models_say_the_task(server: Server, client: Client) -> None:
    """``/v1/models`` says what the weights are for."""
    (entry,) = client.request("GET", "/v1/models").json()["data"]
    assert entry.get("task") == server.task


@CHECKS.add(xfail=_NO_TASKS)
def other_tasks_are_told_why(server: Server, client: Client) -> None:
    """Who asks for another task is refused, in every API's words, and reads which one is served."""
    routes = (Way(), Way("/embed", "inputs"), Way("/v2/embed", "texts"))
    for task in set(WORDS) - {server.task}:
        for name, value in WORDS[task]:
            for way in routes:
                # Cohere's form asks for this field, so another one would be refused for its lack.
                fields = {"input_type": value} if way.inputs == "texts" else {name: value}
                response = client.request("POST", way.path, json={way.inputs: ["a"], **fields})
                expected = 422 if way.inputs == "inputs" else 400
                assert response.status_code == expected, describe(response)
                assert server.task in response.text, describe(response)


@CHECKS.add(xfail="llama-server answers in whatever name the request says")
def other_tasks_names_are_not_here(server: Server, client: Client) -> None:
    """The model with the weights of another task is another model."""
    name = f"jina-embeddings-v5-text-{server.model.name}"
    for task in {RETRIEVAL, *OTHER_TASKS} - {server.task}:
        for asked in (f"{name}-{task}", f"jinaai/{name}-{task}"):
            body = {"input": "a text", "model": asked}
            assert_model_not_found(client.request("POST", "/v1/embeddings", json=body))
    for asked in (name, f"{name}-{server.task}"):
        assert client.embeddings("a text", model=asked)["model"] == client.models()[0]


@CHECKS.add(needs=("task",))
def a_task_without_sides_has_one_prefix(server: Server, client: Client) -> None:
    """Whatever a request says that is so here, and where it says nothing, texts have the prefix."""
    texts = different_texts(3)
    # Tokens are embedded as they are.
    expected = client.embed([client.tokenize(DOCUMENT + text) for text in texts])
    without = client.embed([client.tokenize(text) for text in texts])
    assert cosine(expected, without).max() < same(server), "the prefix must make a difference"
    own = WORDS[server.task]
    ways = [
        Way(),
        Way("/document/v1/embeddings"),
        Way("/embed", "inputs"),
        Way("/document/embed", "inputs"),
        Way("/embed", "inputs", {"prompt_name": "document"}),
        Way("/v2/embed", "texts", {"input_type": own[0][1]}),
        *(Way(fields={name: value}) for name, value in own),
        *(Way(fields={"input_type": word}) for word in ("document", "passage", "ingest")),
        Way(fields={"task": own[0][1], "input_type": "document"}),
    ]
    given = [texts[0], DOCUMENT + texts[1], texts[2]]  # a prefix is not doubled
    for way in ways:
        response = client.request("POST", way.path, json={way.inputs: given, **way.fields})
        assert response.status_code == 200, f"{way}: {describe(response)}"
        assert cosine(vectors_of_any_api(response.json()), expected).min() >= same(server), way


@CHECKS.add(needs=("task",))
def a_task_without_sides_refuses_queries(server: Server, client: Client) -> None:
    """A query's prefix is not for these weights: who asks for it reads what they are for."""
    ways = [
        Way("/query/v1/embeddings"),
        Way("/query/embed", "inputs"),
        Way("/embed", "inputs", {"prompt_name": "query"}),
        Way("/v2/embed", "texts", {"input_type": "search_query"}),
        Way("/v2/embed", "texts", {"input_type": "search_document"}),
        Way(fields={"task": "retrieval.query"}),
        Way(fields={"task": WORDS[server.task][0][1], "input_type": "query"}),
        *(Way(fields={"input_type": word}) for word in ("query", "search", "search_document")),
    ]
    for way in ways:
        response = client.request("POST", way.path, json={way.inputs: ["a"], **way.fields})
        assert response.status_code in (400, 422), f"{way}: {describe(response)}"
        assert server.task in response.text, describe(response)


@CHECKS.add(needs=("task",))
def a_task_without_sides_leaves_tokens_alone(server: Server, client: Client) -> None:
    """Who makes tokens adds the prefix, as does who writes llama.cpp's own form; no field does."""
    (text,) = different_texts(1)
    tokens = client.tokenize(text)
    expected = client.embed([tokens])
    own = client.request("POST", "/embedding", json={"content": text})
    assert own.status_code == 200, describe(own)
    assert cosine(np.array(own.json()[0]["embedding"]), expected).min() >= same(server)
    refused = {"input": [tokens], "task": WORDS[server.task][0][1]}
    response = client.request("POST", "/v1/embeddings", json=refused)
    assert response.status_code == 400, describe(response)
