"""Keys: how clients spell them, and what is closed without one."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_refused
from tests.contract.checks.routes import SERVED
from tests.support.client import Client, describe
from tests.support.server import Server

CHECKS = Checks()

_NEEDS = ("api-key",)


def ask(server: Server, headers: Mapping[str, str]) -> httpx.Response:
    """Embed a text with exactly these headers about keys."""
    with Client(server.base_url) as client:
        body = {"input": "a text"}
        return client.request("POST", "/v1/embeddings", json=body, headers=dict(headers))


@CHECKS.add(needs=_NEEDS, xfail="llama-server knows one spelling")
def keys_are_read_in_every_spelling(server: Server, _client: Client) -> None:
    """A scheme has no case (RFC 9110), and some clients send a header of their own."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = ask(server, {"Authorization": f"{scheme} {server.api_key}"})
        assert response.status_code == 200, f"{scheme}: {describe(response)}"
    response = ask(server, {"X-Api-Key": server.api_key or ""})
    assert response.status_code == 200, describe(response)


@CHECKS.add(needs=_NEEDS, xfail="llama-server does not say what it wants")
def wrong_keys_are_refused(server: Server, _client: Client) -> None:
    """No key, another, a part of one or more than one: 401, with what is wanted."""
    key = server.api_key or ""
    wrong = ("", "Bearer", "Bearer another", f"Bearer {key[:-1]}", f"Bearer {key}x")
    for given in (*wrong, f"Basic {key}"):
        response = ask(server, {"Authorization": given} if given else {})
        assert response.status_code == 401, f"{given!r}: {describe(response)}"
        assert_refused(response)
        assert response.headers.get("WWW-Authenticate", "").startswith("Bearer"), given
    assert ask(server, {"X-Api-Key": "another"}).status_code == 401


@CHECKS.add(needs=_NEEDS, xfail="llama-server lists its models without a key")
def everything_but_health_is_closed(server: Server, _client: Client) -> None:
    """Without a key nothing is told of the server but that it lives and is ready."""
    open_to_all = {"/health", "/v1/health", "/ready"}
    with Client(server.base_url) as stranger:
        for path in sorted(set(SERVED) - open_to_all):
            response = stranger.request(SERVED[path], path)
            assert response.status_code == 401, describe(response)
