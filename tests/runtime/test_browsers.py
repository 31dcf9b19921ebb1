"""Pages that the operator allows; what all others may is in the contract."""

from __future__ import annotations

import httpx

from tests.support.boots import Case, Served, each_case, served
from tests.support.client import describe

ALLOWED = ("https://a.example", "http://localhost:5173")
SETTING = {"JINA_ALLOWED_ORIGINS": ", ".join(ALLOWED)}


def ask(server: Served, method: str, origin: str, **headers: str) -> httpx.Response:
    """Send what a browser would for a page of this origin."""
    with server.client() as client:
        body = {"json": {"input": "a text"}} if method == "POST" else {}
        headers = {"Origin": origin, **headers}
        return client.request(method, "/v1/embeddings", headers=headers, **body)


@each_case
def test_allowed_pages_may_use_it(patched: str, case: Case) -> None:
    with served(patched, case, settings=SETTING) as server:
        for origin in ALLOWED:
            answer = ask(server, "POST", origin)
            assert answer.status_code == 200, describe(answer)
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "origin" in answer.headers["Vary"].lower()
            assert "Access-Control-Allow-Credentials" not in answer.headers
            asked = {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            }
            preflight = ask(server, "OPTIONS", origin, **asked)
            assert preflight.status_code == 204, describe(preflight)
            assert preflight.headers["Access-Control-Allow-Origin"] == origin
            assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
            allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
            assert "authorization" in allowed
            assert "content-type" in allowed


@each_case
def test_all_others_may_not(patched: str, case: Case) -> None:
    """An origin is compared as a whole: neither a part of it nor another port is the same."""
    with served(patched, case, settings=SETTING) as server:
        for origin in (
            "https://b.example",
            "http://a.example",
            "https://a.example.b.example",
            "https://a.exampl",
            "http://localhost:5174",
            "http://localhost",
            "null",
            "*",
            "",
        ):
            for method in ("POST", "OPTIONS"):
                response = ask(server, method, origin)
                assert response.status_code == 403, f"{origin}: {describe(response)}"
                assert "Access-Control-Allow-Origin" not in response.headers, origin


@each_case
def test_a_refusal_can_be_read_by_an_allowed_page(patched: str, case: Case) -> None:
    with (
        served(patched, case, settings=SETTING) as server,
        server.client() as client,
    ):
        response = client.request(
            "POST", "/v1/embeddings", json={"input": 5}, headers={"Origin": ALLOWED[0]}
        )
        assert response.status_code == 400, describe(response)
        assert response.headers["Access-Control-Allow-Origin"] == ALLOWED[0]


@each_case
def test_a_star_allows_any_page(patched: str, case: Case) -> None:
    with served(patched, case, settings={"JINA_ALLOWED_ORIGINS": "*"}) as server:
        for origin in ("https://anything.example", "null"):
            answer = ask(server, "POST", origin)
            assert answer.status_code == 200, describe(answer)
            assert answer.headers["Access-Control-Allow-Origin"] in (origin, "*")
            assert "Access-Control-Allow-Credentials" not in answer.headers
