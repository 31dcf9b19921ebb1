"""Length: every input up to the advertised context is served whole, and nothing beyond it."""

from __future__ import annotations

from functools import partial

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_refused
from tests.contract.checks.inputs import different_texts, same, token_array
from tests.support.client import Client, Input, describe, vectors
from tests.support.server import Server
from tests.support.vectors import cosine

CHECKS = Checks()

_NO_TRUNCATE = "llama-server knows no truncate"

#: Around the micro-batch sizes that llama-server is known to fail at: its default (512), and
#: what compose sets for small (2048). Lengths include the end token.
LENGTHS = (1, 511, 512, 513, 2047, 2048, 2049)


def serves(server: Server, client: Client, length: int) -> None:
    """Exactly ``length`` tokens are embedded, and counted whole."""
    body = client.embeddings(token_array(client, length))
    assert vectors(body).shape == (1, server.model.dims)
    assert body["usage"]["prompt_tokens"] == length


for tokens in LENGTHS:
    CHECKS.add(f"serves_{tokens}_tokens")(partial(serves, length=tokens))


@CHECKS.add(needs=("full-context",))
def serves_context(server: Server, client: Client) -> None:
    """All of the advertised context is served, and so is one token less.

    The two inputs differ in their first quarter: a server that kept only the last tokens would
    not see it, whatever it counts.
    """
    whole = token_array(client, server.model.context)
    quarter = len(whole) // 4
    shorter = [whole[0]] * (quarter - 1) + whole[quarter:]
    found = []
    for tokens in (shorter, whole):
        body = client.embeddings(tokens)
        assert body["usage"]["prompt_tokens"] == len(tokens)
        found.append(vectors(body)[0])
    assert cosine(*found) < same(server)


@CHECKS.add(
    needs=("full-context",),
    xfail="llama-server names its own limits (small), or answers 500 (nano)",
)
def refuses_more_than_context(server: Server, client: Client) -> None:
    """One token more than the context is refused, and the error names both numbers."""
    too_long = token_array(client, server.model.context + 1)
    response = client.request("POST", "/v1/embeddings", json={"input": ["a text", too_long]})
    assert_refused(response)
    message = response.json()["error"]["message"]
    assert str(len(too_long)) in message
    assert str(server.model.context) in message


@CHECKS.add()
def serves_after_too_long_input(server: Server, client: Client) -> None:
    """After an input that no setting could hold, the next good one is answered."""
    good = ["a good request"]
    expected = client.embed(good)
    far_too_long = token_array(client, 2 * server.model.context)
    response = client.request("POST", "/v1/embeddings", json={"input": far_too_long})
    assert response.status_code >= 400, describe(response)
    assert cosine(client.embed(good), expected).min() >= same(server)


@CHECKS.add(needs=("short-context",), xfail=_NO_TRUNCATE)
def truncates(server: Server, client: Client) -> None:
    """``truncate`` cuts a text that is too long before its last token, and says so.

    The last token is the one that the model ends every text with, and pools at.
    """
    context = server.model.context
    text = " ".join(different_texts(context // 4))
    tokens = client.tokenize(text)
    assert len(tokens) > context, "the text must be too long"
    body = client.embeddings(["a short text", text], truncate=True)
    assert [item.get("truncated") for item in body["data"]] == [False, True]
    assert body["usage"]["prompt_tokens"] == len(client.tokenize("a short text")) + context
    expected = client.embed([[*tokens[: context - 1], tokens[-1]]])
    assert cosine(vectors(body)[1:], expected).min() >= same(server)


@CHECKS.add(xfail=_NO_TRUNCATE)
def truncates_nothing(server: Server, client: Client) -> None:
    """``truncate`` changes nothing about inputs that are short enough, and says so."""
    inputs: list[Input] = [*different_texts(2), token_array(client, 20)]
    expected = client.embeddings(inputs)
    for encoding in ("float", "base64"):
        body = client.embeddings(inputs, truncate=True, encoding_format=encoding)
        assert [item.get("truncated") for item in body["data"]] == [False] * 3
        assert body["usage"] == expected["usage"]
        assert cosine(vectors(body), vectors(expected)).min() >= same(server)
