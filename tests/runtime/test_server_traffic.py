"""Ordinary traffic in numbers: many connections, bursts, a small limit of processes, full load.

Each container here is a test's own. Times are bounds against a server that stalls; what it takes
when nothing else runs is a few milliseconds, and is measured by `nox -s bench`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import httpx
import pytest

from tests.support.boots import MODELS, Case, Served, each_case, each_model, plain, served, tiny
from tests.support.containers import with_model
from tests.support.crowds import (
    PATIENCE_SECONDS,
    PROMPT_SECONDS,
    all_at_once,
    get,
    kept_busy,
    post,
    timed,
)
from tests.support.sockets import RawConnection
from tests.support.waiting import wait_until
from tests.support.work import texts, wait_until_working

#: More than the 1,044 threads that llama-server's own pool may have, and than compose's pids_limit.
CONNECTIONS = 1200
#: How often something is asked while the load lasts.
TIMES = 5


def embed_and_stay(
    server: Served, inputs: Sequence[str], opened: list[RawConnection], number: int
) -> httpx.Response:
    """Embed one of these texts on a fresh connection, and leave it open among the others."""
    content = json.dumps({"input": inputs[number]}).encode()
    connection = RawConnection(server.base_url, PATIENCE_SECONDS)
    opened.append(connection)
    head = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    connection.send_head("POST", "/v1/embeddings", head)
    connection.send(content)
    return connection.answer()


def assert_prompt(server: Served, *paths: str) -> None:
    """Ask for each path, each time on a fresh connection; all answers are 200 and come soon."""
    for path in paths:
        for _ in range(TIMES):
            outcome = timed(partial(get, server.base_url, path))
            assert outcome.status == 200, f"{path}: {outcome}"
            assert outcome.seconds < PROMPT_SECONDS, f"{path}: {outcome}"


@contextmanager
def open_connections(server: Served, count: int) -> Iterator[list[RawConnection]]:
    """Keep connections open: every other one silent, the others with half a header."""
    with ExitStack() as stack:
        opened = [stack.enter_context(RawConnection(server.base_url)) for _ in range(count)]
        for connection in opened[::2]:
            with suppress(ConnectionError):  # refused, where that is what it is about
                connection.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: loc")
        yield opened


@each_case
def test_more_connections_than_a_process_may_have_threads(patched: str, case: Case) -> None:
    with served(patched, case) as server:
        with open_connections(server, CONNECTIONS):
            for number in range(TIMES):
                outcome = timed(partial(post, server.base_url, input=f"text {number}"))
                assert outcome.status == 200, outcome
                assert outcome.seconds < PROMPT_SECONDS, outcome
            assert_prompt(server, "/health", "/ready", "/metrics", "/v1/models")
            server.assert_alive()
        # And when all of them have left at once.
        assert post(server.base_url, input="a text").status_code == 200
        server.assert_alive()


@each_model
def test_more_connections_than_descriptors(patched: str, model: str) -> None:
    """Those beyond the limit are refused; neither the process nor those that came before suffer."""
    limit = ["--ulimit", "nofile=300:300"]
    options = [*with_model(tiny(MODELS[model])), *limit]
    with plain(patched, options=options) as server, RawConnection(server.base_url) as first:
        first.send_head("GET", "/health", {})
        assert first.answer("GET").status_code == 200
        with open_connections(server, 600):
            server.assert_alive()
            first.send_head("GET", "/health", {})
            assert first.answer("GET").status_code == 200
        health = partial(get, server.base_url, "/health")
        wait_until(lambda: timed(health).status == 200, "room for connections again")
        assert post(server.base_url, input="a text").status_code == 200
        server.assert_alive()


@each_case
def test_more_requests_than_threads_are_answered_or_refused(patched: str, case: Case) -> None:
    """A thread that cannot be made was an exception that ended the process."""
    with served(patched, case, pids=100) as server:
        outcomes = all_at_once(150, lambda n: post(server.base_url, input=f"text {n}"))
        assert {outcome.status for outcome in outcomes} <= {200, 503}, outcomes
        for outcome in outcomes:
            if outcome.response is not None and outcome.status == 503:
                assert outcome.response.headers.get("Retry-After"), outcome
        answered = sum(outcome.status == 200 for outcome in outcomes)
        assert answered > len(outcomes) // 4, f"{answered} of {len(outcomes)}"
        server.assert_alive()
        assert post(server.base_url, input="a text").status_code == 200


@each_case
def test_a_burst_on_fresh_connections_is_answered(patched: str, case: Case) -> None:
    """Clients keep their connections. In the library's pool half of these waited over 5 seconds."""
    with served(patched, case) as server:
        for burst in range(5):
            # Each thread appends its own connection, and all are closed once all are answered.
            opened: list[RawConnection] = []
            sent = [f"burst {burst} text {number}" for number in range(40)]
            outcomes = all_at_once(len(sent), partial(embed_and_stay, server, sent, opened))
            for connection in opened:
                connection.close()
            assert {outcome.status for outcome in outcomes} == {200}, outcomes
            assert max(outcome.seconds for outcome in outcomes) < PROMPT_SECONDS, outcomes


@each_case
def test_health_and_metrics_do_not_wait_for_embeddings(patched: str, case: Case) -> None:
    """64 clients that never pause: balancers and Prometheus must not think that it is dead."""
    inputs = texts(8, 300)
    with (
        served(patched, case) as server,
        kept_busy(64, lambda _: post(server.base_url, input=inputs)),
    ):
        wait_until_working(server, 64)
        assert_prompt(server, "/health", "/ready", "/metrics", "/v1/models")
        server.assert_alive()


@pytest.mark.parametrize("path", ["/metrics", "/v1/models"])
@each_case
def test_health_does_not_wait_for_who_looks_often(patched: str, case: Case, path: str) -> None:
    """Monitoring gone wild on a busy server, which answers metrics as of the last batch."""
    inputs = texts(8, 300)
    with (
        served(patched, case) as server,
        kept_busy(16, lambda _: post(server.base_url, input=inputs)),
        kept_busy(32, lambda _: get(server.base_url, path)),
    ):
        wait_until_working(server, 16)
        assert_prompt(server, "/health", "/ready")
        server.assert_alive()
