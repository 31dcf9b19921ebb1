"""Each request has an id that its client, the log and whoever looks for a fault share."""

from __future__ import annotations

import re

from tests.contract.checks.check import Checks
from tests.support.client import Client, describe
from tests.support.server import Server

CHECKS = Checks()

_NONE = "llama-server knows no request ids"

HEADER = "X-Request-Id"
TAKEN = re.compile(r"[A-Za-z0-9._-]{1,128}")

#: A route that succeeds, one that refuses, and one that is not there.
ASKED = (
    ("POST", "/v1/embeddings", b'{"input": "a text"}'),
    ("POST", "/v1/embeddings", b'{"input": 5}'),
    ("GET", "/nowhere", b""),
    ("GET", "/health", b""),
)


@CHECKS.add(xfail=_NONE)
def request_ids_are_sent_back(_server: Server, client: Client) -> None:
    """A client's own id comes back with every answer, whatever its status."""
    for given in ("abc-123_4.5", "A" * 128):
        for method, path, body in ASKED:
            response = client.request(method, path, content=body, headers={HEADER: given})
            assert response.headers.get(HEADER) == given, describe(response)


@CHECKS.add(xfail=_NONE)
def request_ids_are_made(_server: Server, client: Client) -> None:
    """Without one, or with one that does not belong into a log, the server makes one."""
    made = set()
    unfit = ("two words", "x" * 129, "semi;colon", '"quoted"')
    for given in ({}, {}, *({HEADER: each} for each in unfit)):
        response = client.request("GET", "/v1/models", headers=given)
        own = response.headers.get(HEADER, "")
        assert TAKEN.fullmatch(own), f"{given}: {own!r}"
        assert own not in given.values()
        made.add(own)
    assert len(made) == len(unfit) + 2, "each request has its own"
