"""Vectors as people store them: int8, uint8 and bits, by the names of OpenAI, Jina and Voyage.

How a vector becomes whole numbers is described in images/patches (jina-vectors.h), with its source.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import different_texts, same
from tests.support.client import Client, vectors
from tests.support.server import Server
from tests.support.vectors import cosine, truncate

CHECKS = Checks()

_FLOATS = "llama-server knows float and base64, by one name"

Numbers = NDArray[np.float32]

#: The fields that name a form as OpenAI's does. Cohere's and Jina's may be a list of one.
NAMES = ("encoding_format", "embedding_type", "encoding_type", "embedding_types")

#: The least share of bits that are as expected. A vector that differs by rounding has its signs but
#: where a number is next to nothing; another order of bits has half of them.
SAME_BITS = 0.97
#: The largest share of steps that may differ by one: rounding down moves half of them.
OTHER_STEPS = 0.25

#: The bytes of base64, by form.
TYPES = {"int8": "i1", "uint8": "u1", "binary": "i1", "ubinary": "u1"}


def _bits(found: NDArray[np.int64], expected: Numbers, *, offset: int) -> None:
    assert found.shape == (len(expected), (expected.shape[1] + 7) // 8)
    assert -offset <= found.min() <= found.max() <= 255 - offset
    bits = np.unpackbits((found + offset).astype(np.uint8), axis=1)[:, : expected.shape[1]]
    assert np.mean(bits == (expected > 0)) >= SAME_BITS


def _steps(found: NDArray[np.int64], expected: Numbers, *, scale: float, zero: float) -> None:
    steps = np.rint((expected + np.float32(zero)) * np.float32(scale))
    assert found.shape == expected.shape
    assert np.abs(found - steps).max() <= 1
    assert np.mean(found != steps) <= OTHER_STEPS


#: What a form must be of vectors of length 1.
FORMS: dict[str, Callable[[NDArray[np.int64], Numbers], None]] = {
    "int8": partial(_steps, scale=127.0, zero=0.0),
    "uint8": partial(_steps, scale=127.5, zero=1.0),
    "binary": partial(_bits, offset=128),
    "ubinary": partial(_bits, offset=0),
}


def whole(body: dict[str, Any]) -> NDArray[np.int64]:
    """The vectors of an answer, which must be lists of whole numbers."""
    rows = [item["embedding"] for item in body["data"]]
    assert all(type(number) is int for row in rows for number in row), rows[0]
    return np.array(rows, dtype=np.int64)


def form(server: Server, client: Client, name: str) -> None:
    """The form comes by each of its names, and is that of the float vectors."""
    texts = different_texts(3)
    expected = client.embed(texts)
    for field in NAMES:
        asked: Any = [name] if field == "embedding_types" else name
        body = client.embeddings(texts, **{field: asked})
        assert [item["index"] for item in body["data"]] == [0, 1, 2]
        FORMS[name](whole(body), expected)
    FORMS[name](whole(client.embeddings(texts, output_dtype=name)), expected)


for kind in FORMS:
    CHECKS.add(f"form_{kind}", xfail=_FLOATS)(partial(form, name=kind))


def form_with_dimensions(server: Server, client: Client, name: str) -> None:
    """A vector is shortened and scaled to length 1 before it is made of whole numbers."""
    texts = different_texts(3)
    full = client.embed(texts)
    for size in server.model.matryoshka:
        expected = truncate(full, size).astype(np.float32)
        for field in ("dimensions", "output_dimension"):
            body = client.embeddings(texts, **{"embedding_type": name, field: size})
            FORMS[name](whole(body), expected)


for kind in FORMS:
    CHECKS.add(f"form_{kind}_with_dimensions", xfail=_FLOATS)(
        partial(form_with_dimensions, name=kind)
    )


@CHECKS.add(xfail=_FLOATS)
def base64_by_every_name(server: Server, client: Client) -> None:
    """base64 is that of floats by every name, as a list of one, too."""
    texts = different_texts(2)
    expected = client.embed(texts)
    for field in NAMES:
        for asked in ("base64", ["base64"]):
            body = client.embeddings(texts, **{field: asked})
            assert all(isinstance(item["embedding"], str) for item in body["data"])
            assert cosine(vectors(body), expected).min() >= same(server)


@CHECKS.add(xfail=_FLOATS)
def dtype_and_base64(server: Server, client: Client) -> None:
    """Voyage's two fields are two things: its client asks for base64 of the bytes of a dtype."""
    texts = different_texts(2)
    expected = client.embed(texts)
    floats = client.embeddings(texts, output_dtype="float", encoding_format="base64")
    assert cosine(vectors(floats), expected).min() >= same(server)
    for name, kind in TYPES.items():
        body = client.embeddings(texts, output_dtype=name, encoding_format="base64")
        rows = [base64.b64decode(item["embedding"], validate=True) for item in body["data"]]
        FORMS[name](np.array([np.frombuffer(row, kind) for row in rows], dtype=np.int64), expected)


@CHECKS.add(xfail=_FLOATS)
def sides_have_forms(server: Server, client: Client) -> None:
    """A side, a size and a form together: bits of the prefixed text."""
    body = {"input": different_texts(2), "embedding_type": "ubinary", "dimensions": 64}
    response = client.request("POST", "/document/v1/embeddings", json=body)
    assert response.status_code == 200, response.text
    texts = [f"Document: {text}" for text in different_texts(2)]
    FORMS["ubinary"](whole(response.json()), truncate(client.embed(texts), 64).astype(np.float32))


@CHECKS.add(xfail="llama-server has one name for it")
def not_normalized(server: Server, client: Client) -> None:
    """``normalized: false`` gives the vector as the model makes it, of another length."""
    texts = different_texts(2)
    expected = client.embed(texts)
    for fields in ({"normalized": False}, {"normalize": False}, {"embd_normalize": -1}):
        found = client.embed(texts, **fields)
        assert cosine(found, expected).min() >= same(server)
        assert np.abs(np.linalg.norm(found, axis=1) - 1).min() > 1e-2, fields
