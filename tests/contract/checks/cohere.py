"""Cohere's routes, in its own form, errors included: what its Python client sends and reads.

The form is that of its client (cohere 7.3, src/cohere/types/embed_by_type_response.py and
embed_response.py, errors/).
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_refused
from tests.contract.checks.forms import FORMS
from tests.contract.checks.inputs import different_texts, same
from tests.support.client import Client, describe
from tests.support.server import Server
from tests.support.vectors import cosine, truncate

_NO_COHERE = "llama-server has no such route"

CHECKS = Checks()

SIDES = {"search_query": "Query: ", "search_document": "Document: "}


def embed(client: Client, path: str, **fields: Any) -> dict[str, Any]:
    """Embed as its client does, and return the answer."""
    body = {"model": "embed-v4.0", "input_type": "search_document", **fields}
    response = client.request("POST", path, json=body)
    assert response.status_code == 200, describe(response)
    answer: dict[str, Any] = response.json()
    return answer


@CHECKS.add(xfail=_NO_COHERE)
def cohere_embeds(server: Server, client: Client) -> None:
    """A side, several forms in one answer, the texts, and what they cost."""
    texts = different_texts(3)
    for side, prefix in SIDES.items():
        prefixed = [prefix + text for text in texts]
        expected = client.embed(prefixed)
        forms = ["float", "base64", *FORMS]
        answer = embed(client, "/v2/embed", texts=texts, input_type=side, embedding_types=forms)
        assert answer["response_type"] == "embeddings_by_type"
        assert answer["texts"] == texts
        assert answer["id"]
        assert answer["meta"]["api_version"]["version"] == "2"
        tokens = sum(len(client.tokenize(text)) for text in prefixed)
        assert answer["meta"]["billed_units"]["input_tokens"] == tokens
        found = answer["embeddings"]
        assert isinstance(found, dict)
        assert set(found) == set(forms)
        floats = np.array(found["float"], dtype=np.float32)
        assert cosine(floats, expected).min() >= same(server)
        rows = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in found["base64"]]
        assert cosine(np.array(rows), expected).min() >= same(server)
        for name, judge in FORMS.items():
            judge(np.array(found[name], dtype=np.int64), expected)


@CHECKS.add(xfail=_NO_COHERE)
def cohere_sizes(server: Server, client: Client) -> None:
    """``output_dimension`` shortens; without a form the vectors are floats."""
    texts = different_texts(2)
    size = server.model.matryoshka[1]
    expected = truncate(client.embed([f"Document: {text}" for text in texts]), size)
    found = embed(client, "/v2/embed", texts=texts, output_dimension=size)["embeddings"]
    assert isinstance(found, dict)
    assert list(found) == ["float"]
    assert np.array(found["float"]).shape == (2, size)
    assert cosine(found["float"], expected).min() >= same(server)


@CHECKS.add(xfail=_NO_COHERE)
def cohere_first_version(server: Server, client: Client) -> None:
    """``/v1/embed`` has one list of vectors where no form is asked for, and else the forms."""
    texts = different_texts(2)
    expected = client.embed([f"Document: {text}" for text in texts])
    answer = embed(client, "/v1/embed", texts=texts)
    assert answer["response_type"] == "embeddings_floats"
    assert cosine(answer["embeddings"], expected).min() >= same(server)
    answer = embed(client, "/v1/embed", texts=texts, embedding_types=["float"])
    assert answer["response_type"] == "embeddings_by_type"
    assert cosine(answer["embeddings"]["float"], expected).min() >= same(server)


@CHECKS.add(needs=("short-context",), xfail=_NO_COHERE)
def cohere_cuts(server: Server, client: Client) -> None:
    """``truncate`` cuts where the client asks for it, and the answer names the text."""
    texts = ["a short text", "word " * (server.model.context + 10)]
    answer = embed(client, "/v2/embed", texts=texts, truncate="END")
    warnings = answer["meta"].get("warnings", [])
    assert len(warnings) == 1
    assert "texts[1]" in warnings[0]
    assert "warnings" not in embed(client, "/v2/embed", texts=texts[:1], truncate="END")["meta"]


#: Requests that are refused, each for one thing that its message names.
WRONG: dict[str, dict[str, Any]] = {
    "texts": {},
    "input_type": {"texts": ["a text"], "input_type": None},
    "input": {"texts": ["a text"], "input": ["another"]},
    "inputs": {"texts": ["a text"], "inputs": [{"content": []}]},
    "images": {"texts": ["a text"], "images": ["data:image/png;base64,AAAA"]},
    "max_tokens": {"texts": ["a text"], "max_tokens": 5},
    "truncate": {"texts": ["a text"], "truncate": "START"},
    "embedding_types": {"texts": ["a text"], "embedding_types": ["morse"]},
    "output_dimension": {"texts": ["a text"], "output_dimension": 33},
    "retrieval": {"texts": ["a text"], "input_type": "clustering"},
    "list of texts": {"texts": [[1, 2, 3]]},
}


@CHECKS.add(xfail=_NO_COHERE)
def cohere_errors(server: Server, client: Client) -> None:
    """Mistakes are 400 with a ``message``, as is all else that is refused."""
    for path in ("/v1/embed", "/v2/embed"):
        for word, fields in WRONG.items():
            body = {"model": "embed-v4.0", "input_type": "search_document", **fields}
            response = client.request("POST", path, json=body)
            assert response.status_code == 400, describe(response)
            assert_refused(response)
            assert word in response.json()["message"], describe(response)
            assert response.json()["id"], describe(response)
        response = client.request("GET", path)
        assert response.status_code == 405, describe(response)
        assert_refused(response)
