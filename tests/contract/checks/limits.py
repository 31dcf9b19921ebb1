"""Limits of one request: its inputs, its bytes, and texts that are too long at first sight.

What many requests together may take is in tests/runtime: it depends on settings.
"""

from __future__ import annotations

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_refused
from tests.support.client import Client, describe
from tests.support.server import Server
from tests.support.sockets import answer_before_body

CHECKS = Checks()

#: OpenAI's own limit, and the image's default.
INPUTS = 2048
#: No server takes so much; the image's default is 8 MB.
HUGE_BODY = 10**12
#: Under the image's default for a body, and longer than the context of both models.
LONG_TEXT = 7_500_000


@CHECKS.add(xfail="llama-server takes any number of inputs")
def refuses_too_many_inputs(_server: Server, client: Client) -> None:
    """One input more than OpenAI takes is refused, with the limit in the sentence."""
    body = {"input": ["a"] * (INPUTS + 1)}
    response = client.request("POST", "/v1/embeddings", json=body)
    assert response.status_code == 400, describe(response)
    assert_refused(response)
    assert str(INPUTS) in response.json()["error"]["message"], describe(response)


@CHECKS.add(xfail="llama-server waits for the body")
def refuses_a_huge_body_unread(server: Server, _client: Client) -> None:
    """A body that is announced as too large is refused before it comes."""
    key = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    response = answer_before_body(server.base_url, "/v1/embeddings", key, HUGE_BODY)
    assert response.status_code == 413, describe(response)
    assert_refused(response)


@CHECKS.add(xfail="llama-server answers 500 (nano)", xfail_with=("nano",))
def refuses_a_text_of_megabytes(server: Server, client: Client) -> None:
    """A text that cannot fit is refused as every text that does not, and the next one is served."""
    text = "a b c d " * (LONG_TEXT // 8)
    response = client.request("POST", "/v1/embeddings", json={"input": ["short", text]})
    assert response.status_code == 400, describe(response)
    assert_refused(response)
    assert response.json()["error"]["type"] == "exceed_context_size_error", describe(response)
    assert client.embed(["a text"]).shape == (1, server.model.dims)
