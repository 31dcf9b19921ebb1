"""Length: every input up to the advertised context is served whole, and nothing beyond it."""

from __future__ import annotations

from functools import partial

from tests.contract.checks.check import Check
from tests.contract.checks.errors import assert_refused
from tests.contract.checks.inputs import same, token_array
from tests.support.client import Client, describe, vectors
from tests.support.server import Server
from tests.support.vectors import cosine

#: Around the micro-batch sizes that llama-server is known to fail at: its default (512), and
#: what compose sets for small (2048). Lengths include the end token.
LENGTHS = (1, 511, 512, 513, 2047, 2048, 2049)


def serves(server: Server, client: Client, length: int) -> None:
    """Exactly ``length`` tokens are embedded, and counted whole."""
    body = client.embeddings(token_array(client, length))
    assert vectors(body).shape == (1, server.model.dims)
    assert body["usage"]["prompt_tokens"] == length


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


def refuses_more_than_context(server: Server, client: Client) -> None:
    """One token more than the context is refused, and the error names the length."""
    too_long = token_array(client, server.model.context + 1)
    response = client.request("POST", "/v1/embeddings", json={"input": too_long})
    assert_refused(response)
    assert str(len(too_long)) in response.json()["error"]["message"]


def serves_after_too_long_input(server: Server, client: Client) -> None:
    """After an input that no setting could hold, the next good one is answered."""
    good = ["a good request"]
    expected = client.embed(good)
    far_too_long = token_array(client, 2 * server.model.context)
    response = client.request("POST", "/v1/embeddings", json={"input": far_too_long})
    assert response.status_code >= 400, describe(response)
    assert cosine(client.embed(good), expected).min() >= same(server)


CHECKS = (
    *(Check(f"serves_{length}_tokens", partial(serves, length=length)) for length in LENGTHS),
    Check("serves_context", serves_context, needs=("full-context",)),
    Check(
        "refuses_more_than_context",
        refuses_more_than_context,
        needs=("full-context",),
        xfail="llama-server answers 500 to an input larger than the micro-batch",
        xfail_with=("nano",),
    ),
    Check("serves_after_too_long_input", serves_after_too_long_input),
)
