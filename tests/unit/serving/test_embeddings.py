"""The client of the tools: what it asks, and what a person is told when that fails."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.contract.faults.api import DimensionsIgnored
from tests.support.scripted_server import saying
from tests.support.toy.server import ToyServer
from tools.common.errors import ToolError
from tools.facts.models import load_models
from tools.serving.client import EmbeddingServer

MODEL = load_models().models["nano"]


def test_a_side_is_the_same_as_its_prefix() -> None:
    with ToyServer(MODEL) as toy:
        server = EmbeddingServer(toy.described().base_url + "/")
        for side, prefix in (("query", "Query: "), ("document", "Document: ")):
            assert np.array_equal(
                server.embed(["cats sleep"], side=side), server.embed([prefix + "cats sleep"])
            )


def test_dimensions_and_the_models_name() -> None:
    with ToyServer(MODEL) as toy:
        server = EmbeddingServer(toy.described().base_url)
        assert server.embed(["a", "b"]).shape == (2, 768)
        assert server.embed(["a", "b"], dimensions=64).shape == (2, 64)
        assert server.model() == toy.identity.name


def test_a_server_that_ignores_dimensions_is_noticed() -> None:
    with ToyServer(MODEL, DimensionsIgnored) as toy:
        server = EmbeddingServer(toy.described().base_url)
        with pytest.raises(ToolError, match=r"\(1, 768\) numbers instead of \(1, 64\).*--no-patch"):
            server.embed(["a"], dimensions=64)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, "{}", "wants a key; set LLAMA_API_KEY"),
        (404, "{}", "is it a server of ours"),
        (400, json.dumps({"error": {"message": "too long"}}), "answered 400: too long"),
        (502, "<html>Bad Gateway", "answered 502: <html>Bad Gateway"),
        (200, "<html>hello", "no embedding server answers"),
        (200, '{"data": []}', "instead of"),
    ],
)
def test_each_refusal_is_one_sentence(status: int, body: str, said: str) -> None:
    with (
        saying(lambda _: (status, {}, body)) as address,
        pytest.raises(ToolError, match=said) as fault,
    ):
        EmbeddingServer(address).embed(["a"], side="query")
    assert address in str(fault.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "localhost:8080", "http://["])
def test_an_address_where_nothing_answers_is_said_with_what_to_do(address: str) -> None:
    with pytest.raises(ToolError, match="nox -s up"):
        EmbeddingServer(address).model()
