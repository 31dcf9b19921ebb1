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


def similarity(client: Client, source: str, sentences: list[str], **parameters: Any) -> Any:
    """Ask how close sentences are to one, as its clients do."""
    inputs = {"source_sentence": source, "sentences": sentences}
    body = {"inputs": inputs, "parameters": parameters} if parameters else {"inputs": inputs}
    response = client.request("POST", "/similarity", json=body)
    assert response.status_code == 200, describe(response)
    return response.json()


@CHECKS.add(xfail=_NO_TEI)
def tei_similarity(server: Server, client: Client) -> None:
    """``/similarity`` answers the cosine of one sentence with each of the others, in order."""
    source, *sentences = different_texts(4)
    sentences.append(source)
    size = server.model.matryoshka[0]
    for prefix, parameters in (
        ("", {}),
        ("", {"truncate": False, "truncation_direction": "Right", "prompt_name": None}),
        ("Query: ", {"prompt_name": "query"}),
        ("Document: ", {"prompt_name": "document", "normalize": False}),
        ("", {"dimensions": size}),
    ):
        texts = [prefix + text for text in (source, *sentences)]
        known = {"dimensions": size} if "dimensions" in parameters else {}
        first, *others = client.embed(texts, **known)
        expected = [float(cosine(first[None], other[None])[0]) for other in others]
        found = similarity(client, source, sentences, **parameters)
        assert np.allclose(found, expected, atol=1 - same(server)), parameters
        assert found[-1] >= same(server), "a sentence is closest to itself"


#: Requests to compare that are refused, each for what its message names.
NOT_COMPARED: dict[str, dict[str, Any]] = {
    "source_sentence": {"inputs": {"sentences": ["a text"]}},
    "sentences": {"inputs": {"source_sentence": "a text", "sentences": []}},
    "sentences[1]": {"inputs": {"source_sentence": "a text", "sentences": ["a text", 5]}},
    "sentences[0]": {"inputs": {"source_sentence": "a text", "sentences": [""]}},
    "inputs": {"inputs": ["a text", "another"]},
    "parameters": {
        "inputs": {"source_sentence": "a text", "sentences": ["a text"]},
        "parameters": "query",
    },
    "prompt_name": {
        "inputs": {"source_sentence": "a text", "sentences": ["a text"]},
        "parameters": {"prompt_name": "summary"},
    },
    "form": {
        "inputs": {"source_sentence": "a text", "sentences": ["a text"]},
        "parameters": {"encoding_format": "int8"},
    },
}


@CHECKS.add(xfail=_NO_TEI)
def tei_similarity_errors(_server: Server, client: Client) -> None:
    """What cannot be compared is 422 in its own form, and named."""
    for word, body in NOT_COMPARED.items():
        response = client.request("POST", "/similarity", json=body)
        assert_tei_refused(response, 422, "Validation")
        assert word in response.json()["error"], describe(response)
    assert_tei_refused(client.request("GET", "/similarity"), 405, "Validation")


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
