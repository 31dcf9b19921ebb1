"""Repositories, what docker's configuration says of a registry, and how it is shown there."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tools.common.errors import ToolError
from tools.publish.promote import push_failure
from tools.registry.auth import RegistryAuth, stored_credentials
from tools.registry.client import Registry, parse_repository
from tools.registry.manifests import MANIFEST, Blob

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.mark.parametrize(
    ("text", "host", "local"),
    [
        ("ghcr.io/owner/jina-embeddings-v5", "ghcr.io", False),
        ("localhost:5000/x", "localhost:5000", True),
        ("127.0.0.1:5000/a/b__c/d-e", "127.0.0.1:5000", True),
        ("ghcr.io/Owner-Inc/jina-embeddings-v5", "ghcr.io", False),
    ],
)
def test_a_repository_is_a_host_and_a_name(text: str, host: str, local: bool) -> None:
    repository = parse_repository(text)
    assert str(repository) == text.lower()
    assert repository.host == host
    assert repository.local == local


@pytest.mark.parametrize(
    "text",
    ["jina-embeddings-v5", "owner/name", "ghcr.io/-owner/x", "ghcr.io/x:tag", "https://ghcr.io/x"],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ToolError, match=r"ghcr\.io/owner/jina-embeddings-v5"):
        parse_repository(text)


# ------------------------------------------------------------------ docker's configuration


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(value: object) -> None:
        (tmp_path / "config.json").write_text(
            value if isinstance(value, str) else json.dumps(value)
        )

    return write


def test_the_login_is_found_under_every_form_of_the_host(config: Callable[[object], None]) -> None:
    assert stored_credentials("ghcr.io") is None
    auth = base64.b64encode(b"me:pass:word").decode()
    for key in ("ghcr.io", "https://ghcr.io", "https://ghcr.io/v2/"):
        config({"auths": {"example.org": {"auth": "eDp5"}, key: {"auth": auth}}})
        assert stored_credentials("ghcr.io") == ("me", "pass:word")
        assert stored_credentials("other.io") is None


def test_a_credential_helper_is_asked(
    config: Callable[[object], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        '#!/bin/sh\nread -r host || true\n[ "$host" = ghcr.io ] || exit 1\n'
        """echo '{"Username": "me", "Secret": "word"}'\n"""
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    config({"credsStore": "tests"})
    assert stored_credentials("ghcr.io") == ("me", "word")
    assert stored_credentials("other.io") is None
    config({"credHelpers": {"ghcr.io": "missing"}})
    with pytest.raises(ToolError, match="docker-credential-missing"):
        stored_credentials("ghcr.io")


def test_a_damaged_configuration_is_named(config: Callable[[object], None]) -> None:
    config("{")
    with pytest.raises(ToolError, match=r"config\.json"):
        stored_credentials("ghcr.io")
    config({"auths": {"ghcr.io": {"auth": "%%%"}}})
    with pytest.raises(ToolError, match=r"docker login ghcr\.io"):
        stored_credentials("ghcr.io")


# ------------------------------------------------------------------ at the registry


def asked(answer: Answer, credentials: tuple[str, str] | None = None) -> Registry:
    http = httpx.Client(transport=httpx.MockTransport(answer), auth=RegistryAuth(credentials))
    return Registry(http, parse_repository("ghcr.io/owner/x"))


def test_a_token_is_bought_with_the_login_and_used_again() -> None:
    requests: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        given = request.headers.get("Authorization", "nobody")
        requests.append(f"{request.method} {request.url.host} {given}")
        if request.url.host == "auth.example":
            assert dict(request.url.params) == {"service": "s", "scope": "repository:x:pull"}
            return httpx.Response(200, json={"token": "T"})
        if given != "Bearer T":
            challenge = (
                'Bearer realm="https://auth.example/token",service="s",scope="repository:x:pull"'
            )
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        return httpx.Response(200, content=b"{}", headers={"Content-Type": MANIFEST})

    registry = asked(answer, ("me", "word"))
    assert registry.manifest("tag") == Blob(MANIFEST, b"{}")
    assert registry.manifest("tag") is not None
    basic = base64.b64encode(b"me:word").decode()
    assert requests == [
        "GET ghcr.io nobody",
        f"GET auth.example Basic {basic}",
        "GET ghcr.io Bearer T",
        "GET ghcr.io Bearer T",
    ]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"docker login ghcr\.io"),
        (403, r"docker login ghcr\.io"),
        (405, "read-only"),
        (400, "answered 400: manifest invalid"),
    ],
)
def test_a_no_is_said_with_what_to_do(status: int, said: str) -> None:
    body = {"errors": [{"code": "X", "message": "manifest invalid"}]}
    registry = asked(lambda _: httpx.Response(status, json=body))
    with pytest.raises(ToolError, match=said):
        registry.put_manifest(Blob(MANIFEST, b"{}"))


def test_other_bytes_than_the_digest_names_are_refused() -> None:
    registry = asked(lambda _: httpx.Response(200, content=b"other"))
    with pytest.raises(ToolError, match="other bytes"):
        registry.manifest("sha256:" + "0" * 64)


def test_an_upload_goes_where_the_registry_says_and_only_once() -> None:
    stored: dict[str, bytes] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        digest = request.url.path.rpartition("/")[2]
        if request.method == "HEAD":
            return httpx.Response(200 if digest in stored else 404)
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": "/uploads/1?state=a%2Bb"})
        assert request.url.params["state"] == "a+b"
        stored[request.url.params["digest"]] = request.content
        return httpx.Response(201)

    registry = asked(answer)
    registry.put_blob(b"content")
    (digest,) = stored
    assert stored == {digest: b"content"}
    stored[digest] = b"as it was"
    registry.put_blob(b"content")
    assert stored == {digest: b"as it was"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("no basic auth credentials", r"docker login ghcr\.io"),
        ("denied: permission_denied: write_package", r"docker login ghcr\.io"),
        ("unsupported: The operation is unsupported.", "read-only"),
        ("unknown: Method not allowed", "read-only"),
        ("unexpected status from POST request to x: 405 Method Not Allowed", "read-only"),
        ("connection refused", "cannot push to ghcr.io/owner/x: connection refused"),
    ],
)
def test_what_docker_push_says_becomes_what_to_do(said: str, meant: str) -> None:
    with pytest.raises(ToolError, match=meant):
        raise push_failure(said, parse_repository("ghcr.io/owner/x"))


def test_an_answer_without_a_token_is_not_taken_for_the_answer() -> None:
    """The registry's refusal comes back, not what the place of the tokens said."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={})
        challenge = 'Bearer realm="https://auth.example/token",service="x"'
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    with httpx.Client(transport=httpx.MockTransport(answer), auth=RegistryAuth(None)) as http:
        assert http.get("https://registry.example/v2/").status_code == 401
