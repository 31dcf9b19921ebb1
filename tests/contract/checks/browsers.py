"""Browsers: a page of somebody else cannot use the server through its visitor."""

from __future__ import annotations

import httpx

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_refused
from tests.support.client import Client, describe
from tests.support.server import Server
from tests.support.sockets import answer_before_body

CHECKS = Checks()

_REFLECTS = "llama-server lets every origin use it"

#: Origins that no setting of a server under test allows; browsers send "null" for files and frames.
FOREIGN = ("https://page.example", "http://localhost:3000", "null")


def assert_hidden(response: httpx.Response) -> None:
    """Expect no header that would let a page read the answer."""
    given = [name for name in response.headers if name.startswith("access-control-")]
    assert given == [], describe(response)


@CHECKS.add(xfail=_REFLECTS)
def foreign_pages_are_refused(_server: Server, client: Client) -> None:
    """A request with another origin is refused, whatever its route and content type."""
    for origin in FOREIGN:
        for kind in ("application/json", "text/plain"):
            response = client.request(
                "POST",
                "/v1/embeddings",
                content=b'{"input": "a text"}',
                headers={"Origin": origin, "Content-Type": kind},
            )
            assert response.status_code == 403, describe(response)
            assert_refused(response)
            assert_hidden(response)
        for path in ("/v1/models", "/metrics"):
            response = client.request("GET", path, headers={"Origin": origin})
            assert response.status_code == 403, describe(response)
            assert_hidden(response)


@CHECKS.add(xfail=_REFLECTS)
def foreign_pages_are_refused_before_their_body(server: Server, _client: Client) -> None:
    """Nothing of such a request is worked on, its body included."""
    key = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    headers = {"Origin": FOREIGN[0], **key}
    response = answer_before_body(server.base_url, "/v1/embeddings", headers)
    assert response.status_code == 403, describe(response)


@CHECKS.add(xfail=_REFLECTS)
def foreign_preflights_are_refused(_server: Server, client: Client) -> None:
    """A browser that asks whether it may is told that it may not."""
    asked = {"Origin": FOREIGN[0], "Access-Control-Request-Method": "POST"}
    response = client.request("OPTIONS", "/v1/embeddings", headers=asked)
    assert response.status_code == 403, describe(response)
    assert_hidden(response)


@CHECKS.add(xfail=_REFLECTS)
def health_is_readable_for_pages(_server: Server, client: Client) -> None:
    """A page may show whether the server lives and is ready; nothing else is in these answers."""
    for path in ("/health", "/v1/health", "/ready"):
        response = client.request("GET", path, headers={"Origin": FOREIGN[0]})
        assert response.status_code == 200, describe(response)
        assert response.headers.get("Access-Control-Allow-Origin") == "*", describe(response)
        assert "Access-Control-Allow-Credentials" not in response.headers


@CHECKS.add(xfail=_REFLECTS)
def other_clients_see_nothing_of_it(_server: Server, client: Client) -> None:
    """Without an origin nothing is said to browsers."""
    assert_hidden(client.request("POST", "/v1/embeddings", json={"input": "a text"}))
    assert_hidden(client.request("GET", "/v1/models"))
