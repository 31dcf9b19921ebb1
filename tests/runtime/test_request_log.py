"""The log: one line a request, to be read by people or by machines, and nothing that is secret."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.boots import Case, Served, each_case, served
from tests.support.containers import logs
from tests.support.waiting import wait_until

LINE = re.compile(
    r"request: (?P<method>\w+) (?P<path>\S+) (?P<status>\d+) inputs=(?P<inputs>\d+)"
    r" tokens=(?P<tokens>\d+) ms=(?P<ms>\d+\.\d+) id=(?P<id>[A-Za-z0-9._-]+)\s*$",
    re.MULTILINE,
)
KEY = "a-very-secret-key"
TEXT = "the quick secret of a client"
FORMATS = pytest.mark.parametrize("form", ["text", "json"])


def requests(log: str, form: str) -> list[dict[str, Any]]:
    """The requests that a log tells of, as they are in either form."""
    if form == "text":
        found = [match.groupdict() for match in LINE.finditer(log)]
    else:
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        found = [line for line in lines if line.get("event") == "request"]
    return [{key: str(value) for key, value in each.items()} for each in found]


def said_of(server: Served, form: str, count: int) -> list[dict[str, Any]]:
    """Wait until the log tells of so many requests, and return them."""
    wait_until(lambda: len(requests(logs(server.container), form)) >= count, f"{count} lines")
    return requests(logs(server.container), form)


@FORMATS
@each_case
def test_the_address_is_said(patched: str, case: Case, form: str) -> None:
    """Native builds are found by it (tools/native/server.py)."""
    wanted = {
        "text": "setting: address = http://0.0.0.0:8080",
        "json": '"name":"address","value":"http://0.0.0.0:8080"',
    }
    with served(patched, case, settings={"JINA_LOG_FORMAT": form}) as server:
        assert wanted[form] in logs(server.container)


@FORMATS
@each_case
def test_each_request_has_one_line(patched: str, case: Case, form: str) -> None:
    with served(patched, case, settings={"JINA_LOG_FORMAT": form}) as server:
        with server.client() as client:
            used = client.request(
                "POST",
                "/v1/embeddings",
                json={"input": [TEXT, "another"]},
                headers={"X-Request-Id": "my.own-id_1"},
            ).json()["usage"]["prompt_tokens"]
            client.request("POST", "/query/v1/embeddings", json={"input": 5})
            client.request("GET", "/v1/models")
            for path in ("/health", "/ready", "/metrics"):
                assert client.request("GET", path).status_code == 200
            last = client.request("POST", "/detokenize", json={"tokens": []})
        first, second, third, fourth = said_of(server, form, 4)
    assert (first["method"], first["path"]) == ("POST", "/v1/embeddings")
    assert (first["status"], first["inputs"], first["tokens"]) == ("200", "2", str(used))
    assert first["id"] == "my.own-id_1"
    assert float(first["ms"]) > 0
    assert (second["path"], second["status"]) == ("/query/v1/embeddings", "400")
    assert (third["method"], third["path"], third["status"]) == ("GET", "/v1/models", "200")
    # Health, readiness and metrics are asked for every few seconds: no line where all is well.
    assert fourth["path"] == "/detokenize"
    assert fourth["id"] == last.headers["X-Request-Id"]


@FORMATS
@each_case
def test_no_text_and_no_key_is_in_the_log(patched: str, case: Case, form: str) -> None:
    settings = {"JINA_LOG_FORMAT": form, "LLAMA_API_KEY": KEY}
    with served(patched, case, settings=settings) as server, server.client() as client:
        key = {"Authorization": f"Bearer {KEY}"}
        wrong = {"Authorization": "Bearer another-secret-key"}
        for headers in (key, wrong):
            for body in (
                {"input": TEXT},
                {"input": TEXT, "encoding_format": TEXT},
                {"input": TEXT, "model": TEXT},
                {"content": TEXT},
            ):
                client.request("POST", "/v1/embeddings", json=body, headers=headers)
            client.request("POST", "/tokenize", json={"content": TEXT}, headers=headers)
            client.request("POST", "/v1/embeddings", content=TEXT, headers=headers)
            client.request("GET", f"/v1/models/{TEXT.split()[2]}", headers=headers)
            client.request("GET", "/nowhere-secret?secret=secret", headers=headers)
            odd = {**headers, "X-Request-Id": f"secret {TEXT}"}
            client.request("GET", "/v1/models", headers=odd)
        said_of(server, form, 18)
        log = logs(server.container)
    assert "secret" not in log, [line for line in log.splitlines() if "secret" in line]


@FORMATS
@each_case
def test_many_inputs_have_one_line_too(patched: str, case: Case, form: str) -> None:
    """10,000 inputs were 5.4 MB of log."""
    with served(patched, case, settings={"JINA_LOG_FORMAT": form}) as server:
        with server.client() as client:
            client.embed(["a text"])
            said_of(server, form, 1)
            before = len(logs(server.container))
            client.embed(["a"] * 2000)
            said_of(server, form, 2)
        assert len(logs(server.container)) - before < 500


@FORMATS
@each_case
def test_the_start_names_the_settings_that_matter(patched: str, case: Case, form: str) -> None:
    settings = {"JINA_LOG_FORMAT": form, "JINA_MAX_INPUTS": "123", "LLAMA_API_KEY": KEY}
    with served(patched, case, settings=settings) as server:
        log = logs(server.container)
    told = [line for line in log.splitlines() if "setting" in line]
    assert 3 <= len(told) <= 40, told
    assert any("123" in line for line in told), told
    assert KEY not in log
    if form == "json":
        assert all(json.loads(line) for line in told)
