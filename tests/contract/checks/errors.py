"""Refusals: a client's mistake is a 4xx with a JSON error, and no later request suffers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial

import httpx

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import same
from tests.support.client import Client, describe
from tests.support.server import Server
from tests.support.sockets import answer_before_body
from tests.support.vectors import cosine
from tools.facts.models import load_models

CHECKS = Checks()


@dataclass(frozen=True)
class BadRequest:
    """A request that must be refused; ``xfail`` says what a bare llama-server does instead."""

    body: bytes
    method: str = "POST"
    path: str = "/v1/embeddings"
    xfail: str | None = None


def _json(xfail: str | None = None, path: str = "/v1/embeddings", **fields: object) -> BadRequest:
    return BadRequest(json.dumps(fields).encode(), path=path, xfail=xfail)


_PARSER = "llama-server answers 500 with its JSON parser's own exception"
_TYPES = "llama-server answers 500 to an input of the wrong type"
_ONE = "llama-server takes a list with a number in it for one input"
_EMPTY = "llama-server embeds the token that it adds to the empty text"
_IGNORED = "llama-server ignores dimensions and answers 200"
_TOKENS = "llama-server takes what is of another type for none, or for another value"
_NORMALIZE = "llama-server takes any number for embd_normalize, or answers 500"

BAD_REQUESTS = {
    "get": BadRequest(b"", method="GET"),
    "unknown_path": BadRequest(b"{}", path="/v1/embedding"),
    "malformed_json": BadRequest(b'{"input": "a text"', xfail=_PARSER),
    "empty_body": BadRequest(b"", xfail=_PARSER),
    "not_utf8": BadRequest(b'{"input": "\xff\xfe"}', xfail=_PARSER),
    "body_is_a_list": BadRequest(b'["a text"]'),
    "input_missing": _json(model="jina-embeddings-v5-text"),
    "input_empty_list": _json(input=[]),
    "input_holds_empty_list": _json(input=["a text", []]),
    "input_null": _json(input=None, xfail=_TYPES),
    "input_number": _json(input=5, xfail=_TYPES),
    "input_object": _json(input={"image": "a text"}, xfail=_TYPES),
    "input_holds_null": _json(input=["a text", None], xfail=_TYPES),
    "input_holds_object": _json(input=["a text", {"url": "a text"}], xfail=_TYPES),
    "input_object_without_text": _json(input=[{}], xfail=_TYPES),
    "input_object_of_number": _json(input=[{"text": 5}], xfail=_TYPES),
    "input_holds_fraction": _json(input=[[1.5, 2.5]], xfail=_TYPES),
    "input_holds_flag": _json(input=[True], xfail=_TYPES),
    "input_holds_text_in_array": _json(input=[["a text"]], xfail=_TYPES),
    "input_mixes_text_and_number": _json(input=["a text", 5], xfail=_ONE),
    "input_empty_text": _json(input="", xfail=_EMPTY),
    "input_holds_empty_text": _json(input=["a text", ""], xfail=_EMPTY),
    "input_and_content": _json(
        input="a text", content="another", xfail="llama-server ignores content beside input"
    ),
    "number_too_large": BadRequest(b'{"input": [1e999]}', xfail=_PARSER),
    "nested_deeply": BadRequest(b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}", xfail=_TYPES),
    "model_number": _json(input="a text", model=5, xfail="llama-server ignores a wrong model"),
    "token_negative": _json(input=[[5, -1]]),
    "token_out_of_vocabulary": _json(input=[[5, 10_000_000]]),
    "encoding_format_unknown": _json(input="a text", encoding_format="morse"),
    "encoding_format_number": _json(
        input="a text",
        encoding_format=5,
        xfail="llama-server answers 500 to an encoding_format of the wrong type",
    ),
    "encoding_format_empty": _json(input="a text", encoding_format=""),
    "encoding_format_empty_with_dimensions": _json(
        input="a text", encoding_format="", dimensions=64
    ),
    "dimensions_zero": _json(input="a text", dimensions=0, xfail=_IGNORED),
    "dimensions_not_supported": _json(input="a text", dimensions=33, xfail=_IGNORED),
    "dimensions_too_large": _json(input="a text", dimensions=4096, xfail=_IGNORED),
    "dimensions_text": _json(input="a text", dimensions="64", xfail=_IGNORED),
    "dimensions_fraction": _json(input="a text", dimensions=64.5, xfail=_IGNORED),
    "dimensions_flag": _json(input="a text", dimensions=True, xfail=_IGNORED),
    "embd_normalize_below": _json(input="a text", embd_normalize=-2, xfail=_NORMALIZE),
    "embd_normalize_above": _json(input="a text", embd_normalize=101, xfail=_NORMALIZE),
    "embd_normalize_wraps_around": _json(
        input="a text", embd_normalize=2**64 - 1, xfail=_NORMALIZE
    ),
    "embd_normalize_fraction": _json(input="a text", embd_normalize=2.5, xfail=_NORMALIZE),
    "embd_normalize_flag": _json(input="a text", embd_normalize=True, xfail=_NORMALIZE),
    "embd_normalize_text": _json(input="a text", embd_normalize="2", xfail=_NORMALIZE),
    "embd_normalize_with_dimensions": _json(
        input="a text", embd_normalize=1, dimensions=64, xfail=_NORMALIZE
    ),
    "truncate_text": _json(input="a text", truncate="yes", xfail="llama-server knows no truncate"),
    "input_type_number": _json(input="a text", input_type=5, xfail="llama-server knows no sides"),
    "extra_body_text": _json(
        input="a text", extra_body="input_type", xfail="llama-server ignores extra_body"
    ),
    "tokenize_list": BadRequest(b"[]", path="/tokenize", xfail=_TOKENS),
    "tokenize_nothing": _json(path="/tokenize", text="a text", xfail=_TOKENS),
    "tokenize_fraction": _json(path="/tokenize", content=["a text", 1.5], xfail=_TOKENS),
    "tokenize_flag_text": _json(
        path="/tokenize", content="a text", add_special="yes", xfail=_TOKENS
    ),
    "detokenize_nothing": _json(path="/detokenize", content="a text", xfail=_TOKENS),
    "detokenize_flag": _json(path="/detokenize", tokens=[True], xfail=_TOKENS),
    "detokenize_out_of_vocabulary": _json(path="/detokenize", tokens=[10_000_000]),
}


#: Routes that answer as text-embeddings-inference does, and as Cohere does.
ROUTES_OF_TEI = re.compile(r"(?<!v[12])/(embed|info|similarity)/*$|^/+(query/*|document/*)?$")
ROUTES_OF_COHERE = re.compile(r"/v[12]/embed/*$")

#: The most bytes of a refusal: a sentence, and room for a value of ordinary size in it.
SHORT = 2000


def assert_refused(response: httpx.Response) -> None:
    """Expect a 4xx whose JSON body says why, in the form of the API whose route it is."""
    answer = describe(response)
    assert 400 <= response.status_code < 500, answer
    assert response.headers.get("content-type", "").startswith("application/json"), answer
    if ROUTES_OF_COHERE.search(response.request.url.path):
        assert isinstance(response.json().get("message"), str), answer
        return
    error = response.json().get("error")
    if ROUTES_OF_TEI.search(response.request.url.path):
        assert isinstance(error, str), answer
        assert response.json().get("error_type"), answer
        return
    assert isinstance(error, dict), answer
    for key in ("message", "type"):
        assert isinstance(error.get(key), str), answer
        assert error[key], answer
    assert error.get("code"), answer


def assert_model_not_found(response: httpx.Response) -> None:
    """Expect a 404 that OpenAI's clients understand as an unknown model."""
    answer = describe(response)
    assert response.status_code == 404, answer
    assert response.headers.get("content-type", "").startswith("application/json"), answer
    error = response.json()["error"]
    assert error["message"], answer
    # OpenAI has it in `code`, llama-server has its kinds in `type`.
    assert "model_not_found" in (error.get("code"), error.get("type")), answer


def send(client: Client, bad: BadRequest) -> httpx.Response:
    """Send a bad request and return the answer."""
    return client.request(
        bad.method, bad.path, content=bad.body, headers={"Content-Type": "application/json"}
    )


def refused(_server: Server, client: Client, bad: BadRequest) -> None:
    """Bad requests are refused with a reason."""
    assert_refused(send(client, bad))


for name, request in BAD_REQUESTS.items():
    CHECKS.add(f"refuses_{name}", xfail=request.xfail)(partial(refused, bad=request))


@CHECKS.add(xfail=_PARSER)
def latin1_is_refused_in_utf8(_server: Server, client: Client) -> None:
    """A body in Latin-1 is refused, and the answer itself is JSON as it must be: in UTF-8."""
    for body in (b'{"input": "caf\xe9"}', b'{"input": "a", "\xe9": 1}', b"\xe9"):
        response = send(client, BadRequest(body))
        assert response.status_code == 400, describe(response)
        written = response.content.decode("utf-8", "replace")
        assert written.encode() == response.content, f"not UTF-8: {response.content!r}"
        assert_refused(response)


@CHECKS.add(xfail=_TYPES)
def refusals_are_short(_server: Server, client: Client) -> None:
    """A wrong value is not sent back whole: it may be a megabyte."""
    long = "x" * 1_000_000
    for fields in (
        {"encoding_format": long},
        {"dimensions": long},
        {"input_type": long},
        {"task": long},
        {"truncate": long},
        {"embd_normalize": long},
        {"model": [long]},
        {"dimensions": 10**4000},
        {"input": [["a text"], long]},
    ):
        response = client.request("POST", "/v1/embeddings", json={"input": "a text", **fields})
        assert 400 <= response.status_code < 500, describe(response)
        assert len(response.content) < SHORT, f"{fields.keys()}: {len(response.content)} bytes"
    response = client.request("POST", "/" + long[:4000])
    assert_refused(response)
    assert len(response.content) < SHORT, describe(response)


def other_model(server: Server) -> str:
    """The name of a model that the server does not serve, and knows."""
    (other,) = set(load_models().models) - {server.model.name}
    return f"jina-embeddings-v5-text-{other}"


def assert_shown(response: httpx.Response) -> None:
    """Expect an error that the clients of OpenAI, Vercel, Jina and Voyage can show."""
    answer = describe(response)
    body = response.json()
    error = body["error"]
    assert error.keys() >= {"message", "type", "param", "code"}, answer
    assert isinstance(error["code"], str), answer  # OpenAI's schema: a string, or null
    assert error["param"] is None or isinstance(error["param"], str), answer
    # Jina's and Voyage's clients read it where there is no `data`.
    assert body.get("detail") == error["message"], answer


@CHECKS.add(xfail="llama-server has its own form")
def errors_can_be_shown(server: Server, client: Client) -> None:
    """Every refusal, whatever its status and route, has what each API's clients read."""
    for bad in BAD_REQUESTS.values():
        assert_shown(send(client, bad))
    key = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    statuses = {
        404: client.request(
            "POST", "/v1/embeddings", json={"input": "a", "model": other_model(server)}
        ),
        405: client.request("GET", "/v1/embeddings"),
        403: client.request("GET", "/v1/models", headers={"Origin": "https://page.example"}),
        413: answer_before_body(server.base_url, "/v1/embeddings", key, 10**12),
    }
    for path in ("/tokenize", "/embedding", "/query/v1/embeddings"):
        assert_shown(client.request("POST", path, content=b"{"))
    for status, response in statuses.items():
        assert response.status_code == status, describe(response)
        assert_shown(response)


@CHECKS.add(xfail="llama-server names none")
def errors_name_the_field(_server: Server, client: Client) -> None:
    """``param`` is the field that is wrong, or the input by its number."""
    for fields, param in (
        ({"dimensions": 33}, "dimensions"),
        ({"output_dimension": 33}, "output_dimension"),
        ({"encoding_format": "morse"}, "encoding_format"),
        ({"task": "clustering"}, "task"),
        ({"late_chunking": True}, "late_chunking"),
        ({"input": ["a text", ""]}, "input[1]"),
        ({"input": 5}, "input"),
    ):
        body = {"input": "a text", **fields}
        response = client.request("POST", "/v1/embeddings", json=body)
        assert response.status_code == 400, describe(response)
        assert response.json()["error"].get("param") == param, describe(response)


@CHECKS.add()
def serves_after_bad_requests(server: Server, client: Client) -> None:
    """After each bad request the next good one is answered as if nothing had happened."""
    good = ["a good request"]
    expected = client.embed(good)
    for name, bad in BAD_REQUESTS.items():
        send(client, bad)
        assert cosine(client.embed(good), expected).min() >= same(server), f"after {name}"
