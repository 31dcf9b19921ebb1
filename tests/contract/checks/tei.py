"""The routes of text-embeddings-inference, in its own form, errors included.

Its clients are huggingface_hub's InferenceClient, LlamaIndex's TextEmbeddingsInference and
Elasticsearch's hugging_face service. The form is that of its source (router/src/http/types.rs,
router/src/lib.rs and server.rs of huggingface/text-embeddings-inference).
"""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import different_texts, same
from tests.support.client import Client, describe
from tests.support.server import Server
from tests.support.sockets import answer_before_body
from tests.support.vectors import cosine, truncate

CHECKS = Checks()

_NO_TEI = "llama-server has no such route"

#: Far over what any server takes as a body.
HUGE_BODY = 10**12


def embed(client: Client, inputs: Any, path: str = "/embed", **fields: Any) -> np.ndarray[Any, Any]:
    """Embed as these clients do, and return the vectors."""
    response = client.request("POST", path, json={"inputs": inputs, **fields})
    assert response.status_code == 200, describe(response)
    rows = response.json()
    assert isinstance(rows, list), describe(response)
    return np.array(rows, dtype=np.float32)


def assert_tei_refused(response: httpx.Response, status: int, kind: str) -> None:
    """Expect an error as text-embeddings-inference writes it."""
    answer = describe(response)
    assert response.status_code == status, answer
    body = response.json()
    assert isinstance(body["error"], str), answer
    assert body["error"], answer
    assert body["error_type"] == kind, answer


@CHECKS.add(xfail=_NO_TEI)
def tei_embeds(server: Server, client: Client) -> None:
    """``/embed`` answers a list of vectors, of a single text, too; the root is the same route."""
    texts = different_texts(3)
    expected = client.embed(texts)
    assert cosine(embed(client, texts), expected).min() >= same(server)
    assert cosine(embed(client, texts, path="/"), expected).min() >= same(server)
    single = embed(client, texts[0], normalize=True, truncate=True, truncation_direction="Right")
    assert single.shape == (1, server.model.dims)
    assert cosine(single, expected[:1]).min() >= same(server)
    by_tokens = embed(client, [client.tokenize(text) for text in texts])
    assert cosine(by_tokens, expected).min() >= same(server)


@CHECKS.add(xfail=_NO_TEI)
def tei_embeds_sides_and_sizes(server: Server, client: Client) -> None:
    """A side by ``prompt_name`` or the address, and ``dimensions``."""
    (text,) = different_texts(1)
    size = server.model.matryoshka[1]
    for side, prefix in (("query", "Query: "), ("document", "Document: ")):
        expected = truncate(client.embed([prefix + text]), size)
        for path, fields in (("/embed", {"prompt_name": side}), (f"/{side}/embed", {})):
            found = embed(client, [text], path, dimensions=size, **fields)
            assert found.shape == (1, size)
            assert cosine(found, expected).min() >= same(server), path


#: Requests that are refused, each for one thing.
WRONG: tuple[dict[str, Any], ...] = (
    {"inputs": 5},
    {"inputs": []},
    {"inputs": ["a text", ""]},
    {"input": ["a text"]},
    {"inputs": "a text", "prompt_name": "clustering"},
    {"inputs": "a text", "truncation_direction": "Left"},
    {"inputs": "a text", "dimensions": 33},
    {"inputs": {"image": "https://example.org/a.png"}},
)


@CHECKS.add(xfail=_NO_TEI)
def tei_errors(server: Server, client: Client) -> None:
    """Mistakes are 422 with ``error`` and ``error_type``; so is all else that is refused."""
    for body in WRONG:
        assert_tei_refused(client.request("POST", "/embed", json=body), 422, "Validation")
    assert_tei_refused(client.request("POST", "/embed", content=b"{"), 422, "Validation")
    assert_tei_refused(client.request("GET", "/embed"), 405, "Validation")
    # Refused by the HTTP library itself, before anything of the server's own.
    ranged = client.request("POST", "/embed", json={"inputs": "a"}, headers={"Range": "bytes=-"})
    if ranged.status_code != 200:  # another library may leave it alone
        assert_tei_refused(ranged, 416, "Validation")
    key = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    huge = answer_before_body(server.base_url, "/embed", key, HUGE_BODY)
    assert_tei_refused(huge, 413, "Validation")


@CHECKS.add(xfail=_NO_TEI)
def tei_info(server: Server, client: Client) -> None:
    """``/info`` tells the model and its limits."""
    response = client.request("GET", "/info")
    assert response.status_code == 200, describe(response)
    told = response.json()
    assert told["model_id"] == told["served_model_name"] == client.models()[0]
    assert told["model_type"] == {"embedding": {"pooling": "last_token"}}
    assert told["max_input_length"] == server.model.context
    assert told["auto_truncate"] is False
    for name in ("max_concurrent_requests", "max_batch_tokens", "max_client_batch_size"):
        assert told[name] >= 1, name
    assert told["version"], told
