"""Sends a console file to Elasticsearch through its official client, and looks at the answers."""

from __future__ import annotations

import copy
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elasticsearch import (
    ApiError,
    ConnectionTimeout,
    Elasticsearch,
    SSLError,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch import ConnectionError as NoConnection
from packaging.version import Version

from tools.common.errors import ToolError
from tools.engine.probe import parse_version
from tools.search.elasticsearch.console_file import Request
from tools.search.elasticsearch.reasons import explain
from tools.search.found import Finding

#: Seconds for one request: Elasticsearch itself tries an endpoint that it cannot reach for 30.
_REQUEST_SECONDS = 120


@contextmanager
def connect(
    url: str, api_key: str | None = None, ca_certs: Path | None = None
) -> Iterator[Elasticsearch]:
    """Yield a client for the cluster at ``url``; ``api_key`` is an encoded API key.

    ``ca_certs`` is a file of the certificates to trust, in PEM; without one, those that the
    client brings are. Raises ToolError for what is no address and no such file; nothing is sent
    yet.
    """
    trusted = None if ca_certs is None else _read_certificates(ca_certs)
    try:
        client = Elasticsearch(
            url,
            api_key=api_key,
            ssl_context=trusted,
            request_timeout=_REQUEST_SECONDS,
            max_retries=0,
        )
    except ValueError as error:
        # Without what may be a password.
        shown = url.rpartition("@")[2]
        raise ToolError(f"{shown} is not an address of Elasticsearch: {error}") from None
    with client:
        yield client


def _read_certificates(file: Path) -> ssl.SSLContext:
    """Return a context that trusts what ``file`` holds; raises ToolError where that is nothing."""
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one, too
        raise ToolError(f"{file} holds no certificates in PEM: {error}") from None


def version(client: Elasticsearch) -> Version | None:
    """Return the release of the cluster; None for a serverless one, which has no releases.

    Raises ToolError as ``send`` does.
    """
    answer = send(client, Request("GET", "/", None, {}, "the first request"))
    said = answer.get("version", {})
    if said.get("build_flavor") == "serverless":
        # The number that it gives, 8.11, is there for old clients only.
        return None
    number = parse_version(str(said.get("number")))
    if number is None:
        raise ToolError(f"{address(client)} does not say its version")
    return number


def apply(
    client: Elasticsearch, requests: Sequence[Request], advance: Callable[[int], object]
) -> list[Finding]:
    """Send the requests of a console file in turn and return what its searches found.

    ``advance`` is told of every request that is done. Raises ToolError at the first one that
    fails.
    """
    findings = []
    answer: Any = {}
    for request in requests:
        answer = send(client, with_vector(request, answer))
        if "finds" in request.notes:
            findings.append(_finding(request, answer))
        advance(1)
    return findings


def with_vector(request: Request, answer: Any) -> Request:
    """Return the request with the vector of the answer before it, where its note says so."""
    if "query_vector" not in request.notes:
        return request
    try:
        vector = answer["docs"][0]["doc"]["_source"]["content_embedding"]
    except (KeyError, IndexError, TypeError):
        raise ToolError(
            f"{request.where}: the answer before it holds no vector to search for: {answer!r:.200}"
        ) from None
    body = copy.deepcopy(request.body)
    body["knn"]["query_vector"] = vector
    return Request(request.method, request.path, body, request.notes, request.where)


def send(client: Elasticsearch, request: Request) -> dict[str, Any]:
    """Send one request and return its answer; to delete what is not there is no failure.

    Raises ToolError, with what it means and what to do, for a refusal, for an answer of 200 that
    holds failures, and when nobody or somebody else answers.
    """
    kind = "application/x-ndjson" if request.is_bulk else "application/json"
    headers = {"accept": "application/json"}
    if request.body is not None:
        headers["content-type"] = kind
    path = request.path if request.path.startswith("/") else f"/{request.path}"
    try:
        response = client.perform_request(request.method, path, headers=headers, body=request.body)
    except UnsupportedProductError:
        raise ToolError(f"{address(client)} answers, but it is not Elasticsearch") from None
    except ApiError as error:
        if error.meta.status == 404 and "x-elastic-product" not in error.meta.headers:
            raise ToolError(f"{address(client)} answers, but it is not Elasticsearch") from None
        if request.method == "DELETE" and error.meta.status == 404:
            return {}
        raise explain(request, error.meta.status, error.body) from None
    except TransportError as error:
        raise _no_answer(address(client), request, error) from None
    answer = dict(response.body)
    if failure := _failure(answer):
        raise explain(request, 200, failure)
    return answer


def address(client: Elasticsearch) -> str:
    """Return where the client sends requests, without a user and a password."""
    return str(next(iter(client.transport.node_pool.all())).base_url)


def _no_answer(where: str, request: Request, error: TransportError) -> ToolError:
    """Return the error to raise where nothing came back, or nothing that can be read."""
    match error:
        case ConnectionTimeout():
            what = f"{request.where}: {request.method} {request.path}"
            return ToolError(f"{what}: no answer within {_REQUEST_SECONDS} seconds")
        case SSLError():
            return _tls_failure(where, error.message)
        case NoConnection():
            return ToolError(f"no Elasticsearch answers at {where}: {error.message}")
    return ToolError(f"{where}: {error.message}")


def _tls_failure(where: str, said: str) -> ToolError:
    """Return the error for a handshake that failed; ``said`` is OpenSSL's own text."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ToolError(
            f"the certificate of {where} is not trusted: name its authority's with --ca-certs FILE "
            "(the one that Elasticsearch makes for itself is config/certs/http_ca.crt), and use a "
            f"host name that the certificate is for\n{said}"
        )
    return ToolError(f"{where} does not speak TLS; is it http:// instead of https://?\n{said}")


def _failure(answer: dict[str, Any]) -> Any:
    """Return what failed inside an answer of 200: of _bulk, _reindex or _simulate."""
    if answer.get("errors"):
        results = [result for item in answer.get("items", []) for result in item.values()]
        return [result["error"] for result in results if "error" in result]
    if answer.get("failures"):
        return answer["failures"]
    return [doc["error"] for doc in answer.get("docs", []) if "error" in doc] or None


def _finding(request: Request, answer: dict[str, Any]) -> Finding:
    hits = answer.get("hits", {}).get("hits", [])
    first = hits[0] if hits else {}
    return Finding(
        index=request.path.strip("/").partition("/")[0],
        search=request.notes.get("search", ""),
        wanted=request.notes["finds"],
        found=first.get("_id"),
        score=first.get("_score"),
    )
