"""Fields of other APIs: what would change a vector is honoured or refused, never ignored."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import BadRequest, refused
from tests.contract.checks.inputs import different_texts, same
from tests.support.client import Client, describe, vectors
from tests.support.server import Server
from tests.support.vectors import cosine

CHECKS = Checks()

_IGNORED = "llama-server ignores the field"
_NAMES = "llama-server has none of these names"

TEXT = "how do I renew a certificate?"

#: By name: fields of a request that must be refused, beside its input.
REFUSED: dict[str, dict[str, Any]] = {
    # Jina
    "several_embedding_types": {"embedding_type": ["float", "binary"]},
    "no_embedding_type": {"embedding_type": []},
    "late_chunking": {"late_chunking": True},
    "late_chunking_text": {"late_chunking": "yes"},
    "return_multivector": {"return_multivector": True},
    "not_normalized_int8": {"normalized": False, "embedding_type": "int8"},
    "not_normalized_and_short": {"normalized": False, "dimensions": 64},
    "normalized_text": {"normalized": "no"},
    # Voyage
    "output_dtype_base64": {"output_dtype": "base64"},
    "output_dimension_not_supported": {"output_dimension": 33},
    "truncation_text": {"truncation": "yes"},
    # Cohere
    "max_tokens": {"max_tokens": 10},
    "texts_beside_input": {"texts": ["another text"]},
    "images": {"images": ["data:image/png;base64,AAAA"]},
    # NVIDIA
    "truncate_start": {"truncate": "START"},
    "modality_image": {"modality": "image"},
    # text-embeddings-inference
    "prompt_name_unknown": {"prompt_name": "clustering"},
    "truncation_direction_left": {"truncation_direction": "Left"},
    "inputs_beside_input": {"inputs": ["another text"]},
    # vLLM
    "truncate_prompt_tokens": {"truncate_prompt_tokens": 5},
    "add_special_tokens": {"add_special_tokens": False},
    "embed_dtype": {"embed_dtype": "float16"},
    "endianness": {"endianness": "big"},
    "messages": {"messages": [{"role": "user", "content": "a text"}]},
    # Gemini
    "task_type_other": {"task_type": "SEMANTIC_SIMILARITY"},
    "title": {"title": "a title"},
    "output_dimensionality_not_supported": {"output_dimensionality": 33},
    # LlamaIndex, sentence-transformers, and others
    "encoding_type_unknown": {"encoding_type": "morse"},
    "instruction": {"instruction": "Represent the text"},
    "prompt": {"prompt": "Query: "},
    # two that do not agree
    "two_forms": {"embedding_type": "int8", "encoding_format": "base64"},
    "two_dtypes": {"output_dtype": "int8", "encoding_format": "binary"},
    "two_sizes": {"dimensions": 64, "output_dimension": 128},
    "two_cuts": {"truncate": True, "truncation": False},
    "two_in_extra_body": {"dimensions": 64, "extra_body": {"dimensions": 128}},
    "two_norms": {"normalized": True, "embd_normalize": -1},
}

#: Fields that say what is so anyway, which clients send.
HARMLESS: tuple[dict[str, Any], ...] = (
    {"late_chunking": False, "normalized": True, "embedding_type": "float"},
    {"embedding_type": ["float"], "return_multivector": False, "task": ""},
    {"output_dtype": "float", "truncation": False, "input_type": ""},
    {"truncate": "NONE", "modality": "text", "input_type": None},
    {"embedding_types": ["float"], "priority": 0, "images": []},
    {"truncation_direction": "Right", "prompt_name": None, "normalize": True},
    {"add_special_tokens": True, "embed_dtype": "float32", "endianness": "native"},
    {"task_type": "TASK_TYPE_UNSPECIFIED", "title": "", "instruction": ""},
    {"encoding_type": "float", "user": "someone", "embd_normalize": 2},
)

#: Fields that ask for a cut where one is needed; the answer then says of each input whether it was.
CUTS: tuple[dict[str, Any], ...] = (
    {"truncate": True},
    {"truncate": "END"},
    {"truncation": True},
    {"truncate_prompt_tokens": -1},
    {"auto_truncate": True},
)


for name, more in REFUSED.items():
    bad = BadRequest(json.dumps({"input": ["a text", "another"], **more}).encode())
    CHECKS.add(f"refuses_field_{name}", xfail=None if name == "two_dtypes" else _IGNORED)(
        partial(refused, bad=bad)
    )


@CHECKS.add()
def harmless_fields(server: Server, client: Client) -> None:
    """What a field says that is so anyway is taken, and changes nothing."""
    expected = client.embeddings([TEXT])
    for fields in HARMLESS:
        response = client.request("POST", "/v1/embeddings", json={"input": [TEXT], **fields})
        assert response.status_code == 200, f"{fields}: {describe(response)}"
        body = response.json()
        assert body["usage"] == expected["usage"], fields
        assert cosine(vectors(body), vectors(expected)).min() >= same(server), fields


@CHECKS.add(xfail=_NAMES)
def cuts_by_every_name(_server: Server, client: Client) -> None:
    """A cut is asked for in the words of every API."""
    for fields in CUTS:
        body = client.embeddings(different_texts(2), **fields)
        assert [item.get("truncated") for item in body["data"]] == [False, False], fields


@CHECKS.add(xfail=_NAMES)
def sizes_by_every_name(server: Server, client: Client) -> None:
    """A size is asked for by the names of every API."""
    size = server.model.matryoshka[1]
    expected = client.embed([TEXT], dimensions=size)
    for field in ("output_dimension", "output_dimensionality", "outputDimensionality"):
        found = client.embed([TEXT], **{field: size})
        assert found.shape == (1, size), field
        assert cosine(found, expected).min() >= same(server)


@CHECKS.add(xfail="llama-server takes no object")
def text_objects(server: Server, client: Client) -> None:
    """A text may be an object, as Jina's clients send it, alone and in a list."""
    texts = different_texts(3)
    expected = client.embed(texts)
    typed = {"type": "text", "text": texts[2]}
    listed = {"input": [{"text": texts[0]}, texts[1], typed]}
    response = client.request("POST", "/v1/embeddings", json=listed)
    assert response.status_code == 200, describe(response)
    assert cosine(vectors(response.json()), expected).min() >= same(server)
    alone = {"input": {"text": texts[0]}, "task": "retrieval.query"}
    response = client.request("POST", "/v1/embeddings", json=alone)
    assert response.status_code == 200, describe(response)
    query = client.embed([f"Query: {texts[0]}"])
    assert cosine(vectors(response.json()), query).min() >= same(server)


@CHECKS.add(xfail="llama-server answers 500")
def other_objects_are_named(_server: Server, client: Client) -> None:
    """What is no text is refused by its name."""
    for key in ("image", "url", "bytes", "video", "content"):
        body = {"input": ["a text", {key: "https://example.org/a.png"}]}
        response = client.request("POST", "/v1/embeddings", json=body)
        assert response.status_code == 400, describe(response)
        said = response.json()["error"]["message"]
        assert f"`{key}`" in said, said
        assert "input[1]" in said, said


@CHECKS.add(xfail="llama-server takes any tokens")
def tokens_without_the_end(_server: Server, client: Client) -> None:
    """Another tokenizer's numbers do not end as the model's texts do: refused, and why.

    LangChain's client sends them by default, and knows one option against it.
    """
    tokens = client.tokenize(TEXT)
    assert client.embed([tokens]).shape[0] == 1
    for inputs in (tokens[:-1], [tokens, tokens[:-1]]):
        response = client.request("POST", "/v1/embeddings", json={"input": inputs})
        assert response.status_code == 400, describe(response)
        assert "check_embedding_ctx_length=False" in response.json()["error"]["message"]
