"""Sends a console file to Elasticsearch through its official client, and looks at the answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from elasticsearch import (
    ApiError,
    ConnectionTimeout,
    Elasticsearch,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch import ConnectionError as NoConnection

from tools.elastic.console_file import Request
from tools.elastic.reasons import explain
from tools.errors import ToolError

#: Seconds for one request: Elasticsearch itself tries an endpoint that it cannot reach for 30.
_REQUEST_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """What a search found first, and what it must find."""

    index: str
    search: str
    wanted: str
    found: str | None
    score: float | None

    @property
    def right(self) -> bool:
        return self.found == self.wanted


@contextmanager
def connect(url: str, api_key: str | None = None) -> Iterator[Elasticsearch]:
    """Yield a client for the cluster at ``url``; ``api_key`` is an encoded API key.

    Raises ToolError when no Elasticsearch answers there.
    """
    try:
        client = Elasticsearch(
            url, api_key=api_key, request_timeout=_REQUEST_SECONDS, max_retries=0
        )
    except ValueError as error:
        raise ToolError(f"{url} is not an address of Elasticsearch: {error}") from None
    with client:
        yield client


def version(client: Elasticsearch) -> str:
    """Return the version of the cluster; raises ToolError as ``send`` does."""
    answer = send(client, Request("GET", "/", None, {}, "the first request"))
    return str(answer.get("version", {}).get("number", "unknown"))


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
        raise ToolError(f"{_address(client)} answers, but it is not Elasticsearch") from None
    except ApiError as error:
        if error.meta.status == 404 and "x-elastic-product" not in error.meta.headers:
            raise ToolError(f"{_address(client)} answers, but it is not Elasticsearch") from None
        if request.method == "DELETE" and error.meta.status == 404:
            return {}
        raise explain(request, error.meta.status, error.body) from None
    except ConnectionTimeout:
        raise ToolError(
            f"{request.where}: {request.method} {request.path}: no answer within "
            f"{_REQUEST_SECONDS} seconds"
        ) from None
    except NoConnection as error:
        raise ToolError(
            f"no Elasticsearch answers at {_address(client)}: {error.message}"
        ) from None
    except TransportError as error:
        raise ToolError(f"{_address(client)}: {error.message}") from None
    answer = dict(response.body)
    if failure := _failure(answer):
        raise explain(request, 200, failure)
    return answer


def _address(client: Elasticsearch) -> str:
    return str(next(iter(client.transport.node_pool.all())).base_url)


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
