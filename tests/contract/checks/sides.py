"""Sides: a request may say that its texts are queries or documents; the prefix is then added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import numpy as np
import openai
from langchain_openai import OpenAIEmbeddings

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_refused
from tests.contract.checks.inputs import different_texts, same
from tests.contract.checks.retrieval import MODELS
from tests.support.client import Client, describe, vectors
from tests.support.server import Server
from tests.support.vectors import cosine, truncate

CHECKS = Checks()

_NO_SIDES = "llama-server knows no sides"

QUERY, DOCUMENT = MODELS.query_prefix, MODELS.document_prefix
TEXT = "how do I renew a certificate?"


@dataclass(frozen=True)
class Way:
    """A way to say the side: a path, fields, or both; and the prefix that it stands for."""

    prefix: str
    path: str = "/v1/embeddings"
    fields: Mapping[str, Any] = field(default_factory=dict)


WAYS = {
    "input_type_query": Way(QUERY, fields={"input_type": "query"}),
    "input_type_search": Way(QUERY, fields={"input_type": "search"}),
    "input_type_document": Way(DOCUMENT, fields={"input_type": "document"}),
    "input_type_ingest": Way(DOCUMENT, fields={"input_type": "ingest"}),
    "task_query": Way(QUERY, fields={"task": "retrieval.query"}),
    "task_passage": Way(DOCUMENT, fields={"task": "retrieval.passage"}),
    "input_type_passage": Way(DOCUMENT, fields={"input_type": "passage"}),
    "input_type_search_query": Way(QUERY, fields={"input_type": "search_query"}),
    "input_type_search_document": Way(DOCUMENT, fields={"input_type": "search_document"}),
    "prompt_name_query": Way(QUERY, fields={"prompt_name": "query"}),
    "prompt_name_document": Way(DOCUMENT, fields={"prompt_name": "document"}),
    "prompt_type_document": Way(DOCUMENT, fields={"prompt_type": "document"}),
    "task_type_query": Way(QUERY, fields={"task_type": "RETRIEVAL_QUERY"}),
    "task_type_document": Way(DOCUMENT, fields={"task_type": "RETRIEVAL_DOCUMENT"}),
    "extra_body": Way(QUERY, fields={"extra_body": {"input_type": "query"}}),
    "one_field_empty": Way(QUERY, fields={"input_type": "query", "task": ""}),
    "query_path": Way(QUERY, "/query/v1/embeddings"),
    "document_path": Way(DOCUMENT, "/document/v1/embeddings"),
    "path_and_fields_agree": Way(
        QUERY, "/query/v1/embeddings", {"input_type": "search", "task": "retrieval.query"}
    ),
}


def ask(client: Client, way: Way, inputs: Any, **fields: Any) -> httpx.Response:
    """Send inputs in one of the ways."""
    body = {"input": inputs, **way.fields, **fields}
    return client.request("POST", way.path, json=body)


def answered(response: httpx.Response) -> dict[str, Any]:
    """The body of an answer that must be a success."""
    assert response.status_code == 200, response.text
    return dict(response.json())


def adds_prefix(server: Server, client: Client, way: Way) -> None:
    """The answer is that to the prefixed texts, ``usage`` included, and a prefix is not doubled."""
    texts = [TEXT, *different_texts(2)]
    expected = client.embeddings([way.prefix + text for text in texts])
    body = answered(ask(client, way, [texts[0], way.prefix + texts[1], texts[2]]))
    assert body["usage"] == expected["usage"]
    assert cosine(vectors(body), vectors(expected)).min() >= same(server)
    # The prefix must make a difference, or its absence could not be seen.
    assert cosine(vectors(body), client.embed(texts)).max() < same(server)


for name, way in WAYS.items():
    CHECKS.add(f"side_{name}", xfail=_NO_SIDES)(partial(adds_prefix, way=way))


@CHECKS.add(xfail=_NO_SIDES)
def side_single_text(server: Server, client: Client) -> None:
    """A bare text has its prefix, too."""
    body = answered(ask(client, WAYS["input_type_query"], TEXT))
    assert cosine(vectors(body), client.embed([QUERY + TEXT])).min() >= same(server)


@CHECKS.add(xfail=_NO_SIDES)
def side_with_dimensions(server: Server, client: Client) -> None:
    """A side, ``dimensions`` and base64 work together."""
    dims = server.model.matryoshka[0]
    body = answered(
        ask(client, WAYS["document_path"], [TEXT], dimensions=dims, encoding_format="base64")
    )
    expected = truncate(client.embed([DOCUMENT + TEXT]), dims)
    assert vectors(body).shape == (1, dims)
    assert cosine(vectors(body), expected).min() >= same(server)


REFUSED = {
    "path_against_field": (Way(QUERY, "/query/v1/embeddings", {"input_type": "document"}), TEXT),
    "field_against_field": (
        Way(QUERY, fields={"input_type": "query", "task": "retrieval.passage"}),
        TEXT,
    ),
    "unknown_input_type": (Way(QUERY, fields={"input_type": "cluster"}), TEXT),
    "unknown_task": (Way(QUERY, fields={"task": "text-matching"}), TEXT),
    "task_without_a_side": (Way(QUERY, fields={"task": "retrieval"}), TEXT),
    "input_type_classification": (Way(QUERY, fields={"input_type": "classification"}), TEXT),
}


def refused(_server: Server, client: Client, way: Way, inputs: Any) -> None:
    """A side that cannot be is refused; the same input without a side is not."""
    response = ask(client, way, inputs)
    assert_refused(response)
    assert response.status_code == 400, describe(response)
    assert ask(client, Way(""), inputs).status_code == 200


for name, (way, inputs) in REFUSED.items():
    CHECKS.add(f"side_refuses_{name}", xfail=_NO_SIDES)(partial(refused, way=way, inputs=inputs))


@CHECKS.add(xfail=_NO_SIDES)
def side_refuses_token_array(_server: Server, client: Client) -> None:
    """No prefix can be added to tokens; without a side they are embedded."""
    tokens = client.tokenize(TEXT)
    response = ask(client, WAYS["query_path"], [tokens])
    assert_refused(response)
    assert response.status_code == 400, describe(response)
    assert ask(client, Way(""), [tokens]).status_code == 200


@CHECKS.add(xfail=_NO_SIDES)
def side_wins_over_a_prefix(server: Server, client: Client) -> None:
    """A given side wins over the other one's prefix in a text, which may be a line of a corpus."""
    for way, other in ((WAYS["input_type_query"], DOCUMENT), (WAYS["document_path"], QUERY)):
        body = answered(ask(client, way, ["a text", other + TEXT]))
        expected = client.embed([way.prefix + "a text", way.prefix + other + TEXT])
        assert cosine(vectors(body), expected).min() >= same(server)


@CHECKS.add(xfail=_NO_SIDES)
def side_from_openai_client(server: Server, client: Client) -> None:
    """OpenAI's client can say the side by its address and in ``extra_body``."""
    # Where the path is not there, the client would raise an exception of its own.
    answered(ask(client, WAYS["query_path"], TEXT))
    expected = client.embed([QUERY + TEXT])
    model, key = client.models()[0], server.api_key or "unused"
    for path, extra in (("/query/v1", {}), ("/v1", {"input_type": "query"})):
        base_url = server.base_url + path
        with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as official:
            answer = official.embeddings.create(model=model, input=[TEXT], extra_body=extra)
        assert cosine(np.array([answer.data[0].embedding]), expected).min() >= same(server)


def langchain(
    server: Server, client: Client, side: str, dims: int | None = None
) -> OpenAIEmbeddings:
    """LangChain's OpenAI embeddings client, as docs/search/clients.md sets it up.

    Without ``check_embedding_ctx_length=False`` it would send another tokeniser's tokens.
    """
    settings: dict[str, Any] = {
        "model": client.models()[0],
        "api_key": server.api_key or "unused",
        "dimensions": dims,
        "check_embedding_ctx_length": False,
        "max_retries": 0,
    }
    return OpenAIEmbeddings(base_url=f"{server.base_url}/{side}/v1", **settings)


@CHECKS.add(xfail=_NO_SIDES)
def langchain_client(server: Server, client: Client) -> None:
    """LangChain's client works for both sides, and with ``dimensions``."""
    for side in ("query_path", "document_path"):
        answered(ask(client, WAYS[side], TEXT))
    texts = different_texts(3)
    documents = langchain(server, client, "document").embed_documents(texts)
    expected = client.embed([DOCUMENT + text for text in texts])
    assert cosine(np.array(documents), expected).min() >= same(server)
    dims = server.model.matryoshka[1]
    query = langchain(server, client, "query", dims).embed_query(TEXT)
    assert len(query) == dims
    shortened = truncate(client.embed([QUERY + TEXT]), dims)
    assert cosine(np.array([query]), shortened).min() >= same(server)
