"""The end: what was taken is answered, nothing new is taken, and nobody can hold it up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from signal import SIGTERM

import httpx
import pytest

from tests.contract.checks.errors import assert_refused
from tests.support.boots import MODELS, Case, Served, each_case, each_model, served, tiny
from tests.support.client import describe, vectors
from tests.support.containers import (
    base_url,
    docker,
    inspect,
    logs,
    started,
    wait_for_end,
    with_model,
)
from tests.support.crowds import Outcome, get, in_flight, post, timed
from tests.support.sockets import RawConnection
from tests.support.waiting import wait_until
from tests.support.work import texts, wait_until_working

#: Seconds for work on tiny weights on a busy machine; docker kills only after them.
GRACE = 300
#: Seconds of work, and far more of it.
SOME = texts(100, 40)
MUCH = texts(600, 40)
#: So long that no time limit of the server lets go of anything by itself.
LONG = {"JINA_DRAIN_SECONDS": str(GRACE), "JINA_BODY_SECONDS": "3600"}


def stop(server: Served) -> int:
    """`docker stop`; the exit code."""
    docker("stop", "--time", str(GRACE), server.container, timeout=GRACE + 60)
    return exit_code(server)


def terminate(server: Served, signal: str = "TERM") -> None:
    """Send a signal, without waiting for what becomes of it."""
    docker("kill", "--signal", signal, server.container)


def exit_code(server: Served) -> int:
    """Wait for the end; the exit code."""
    code = wait_for_end(server.container, GRACE)
    assert not inspect(server.container)["State"]["OOMKilled"]
    return code


def assert_answered(outcome: Outcome, inputs: int) -> None:
    """Expect the whole answer."""
    assert outcome.response is not None, outcome
    assert outcome.status == 200, describe(outcome.response)
    assert len(vectors(outcome.response.json())) == inputs


def assert_answered_or_sent_back(outcome: Outcome, inputs: int) -> None:
    """Expect the whole answer, or a refusal that says why and when to try again."""
    assert outcome.response is not None, outcome
    if outcome.status == 200:
        assert_answered(outcome, inputs)
        return
    assert outcome.status == 503, describe(outcome.response)
    assert outcome.response.json()["error"]["message"]
    assert outcome.response.headers.get("Retry-After")


def is_ready(server: Served) -> bool:
    """Whether the server says so."""
    return get(server.base_url, "/ready").status_code == 200


@each_case
def test_what_was_taken_is_answered(patched: str, case: Case) -> None:
    """By `docker stop`; every client lost its answer, and the process hung until it was killed."""
    with served(patched, case, settings={"JINA_DRAIN_SECONDS": str(GRACE)}) as server:
        with in_flight(3, lambda _: post(server.base_url, input=SOME)) as outcomes:
            wait_until_working(server, 3 * len(SOME))
            assert stop(server) == 0
        for outcome in outcomes:
            assert_answered(outcome.result(), len(SOME))


@pytest.mark.parametrize("signal", ["TERM", "INT"])
@each_case
def test_nothing_new_is_taken(patched: str, case: Case, signal: str) -> None:
    """Not ready at once, alive to the end; old connections are told to close like new ones."""
    with served(patched, case, settings={"JINA_DRAIN_SECONDS": str(GRACE)}) as server:
        with (
            in_flight(1, lambda _: post(server.base_url, input=MUCH)) as outcomes,
            server.client() as kept,
        ):
            wait_until_working(server, len(MUCH))
            kept.embed(["a text"])
            terminate(server, signal)
            wait_until(lambda: not is_ready(server), "not ready")
            old = kept.request("POST", "/v1/embeddings", json={"input": "a text"})
            for response in (post(server.base_url, input="a text"), old):
                assert response.status_code == 503, describe(response)
                assert response.headers.get("Retry-After"), describe(response)
                assert "close" in response.headers.get("Connection", "").lower()
                assert response.json()["error"]["message"]
            assert get(server.base_url, "/health").status_code == 200
            assert not outcomes[0].done(), "too little work for this test"
        assert_answered(outcomes[0].result(), len(MUCH))
        assert exit_code(server) == 0


@each_case
def test_what_is_not_done_in_time_is_sent_back(patched: str, case: Case) -> None:
    with served(patched, case, settings={"JINA_DRAIN_SECONDS": "1"}) as server:
        with in_flight(4, lambda _: post(server.base_url, input=MUCH)) as outcomes:
            wait_until_working(server, 4 * len(MUCH))
            assert stop(server) == 0
        found = [outcome.result() for outcome in outcomes]
        for outcome in found:
            assert_answered_or_sent_back(outcome, len(MUCH))
        assert any(outcome.status == 503 for outcome in found), "too little work for this test"


@each_case
def test_a_second_signal_ends_it_at_once(patched: str, case: Case) -> None:
    with served(patched, case, settings=LONG) as server:
        with in_flight(4, lambda _: post(server.base_url, input=MUCH)) as outcomes:
            wait_until_working(server, 4 * len(MUCH))
            terminate(server)
            wait_until(lambda: not is_ready(server), "not ready")
            terminate(server)
            assert exit_code(server) == 1
        assert any(outcome.result().status != 200 for outcome in outcomes), "it worked to the end"


@each_case
def test_half_a_request_does_not_hold_it_up(patched: str, case: Case) -> None:
    """Neither half a header nor half a body, nor a connection that waits for its next request."""
    with (
        served(patched, case, settings={**LONG, "JINA_HEADER_SECONDS": "3600"}) as server,
        RawConnection(server.base_url) as header,
        RawConnection(server.base_url) as body,
        RawConnection(server.base_url) as idle,
    ):
        header.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: loc")
        body.send_head("POST", "/v1/embeddings", {"Content-Length": "1000"})
        body.send(b'{"input": ')
        idle.send_head("GET", "/health", {})
        assert idle.answer("GET").status_code == 200
        outcome = timed(partial(answer_of_stop, server))
        assert outcome.status == 200, outcome
        assert outcome.seconds < GRACE / 2, outcome
        body.socket.settimeout(GRACE)
        said = body.rest()
        assert said == b"" or said.startswith(b"HTTP/1.1 503 "), said


def answer_of_stop(server: Served) -> httpx.Response:
    """`docker stop` as something that can be timed: 200 for an exit code of 0."""
    return httpx.Response(200 if stop(server) == 0 else 500)


# ------------------------------------------------------------------ while the model loads


def heeds_signals(container: str) -> bool:
    """Whether the server has said to the kernel that SIGTERM is for it: caught, or waited for."""
    status = docker("exec", container, "cat", "/proc/1/status")
    masks = re.findall(r"Sig(?:Blk|Cgt):\s+([0-9a-f]+)", status)
    return any(int(mask, 16) >> (SIGTERM - 1) & 1 for mask in masks)


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_signal_before_the_load_ends_it(patched: str, tmp_path: Path, signal: str) -> None:
    """It was lost: handlers were set after the load, and process 1 ignores what it has none for.

    The model never comes: its file is a pipe that nobody writes to.
    """
    tmp_path.chmod(0o755)
    pipe = tmp_path / "model.gguf"
    os.mkfifo(pipe)
    pipe.chmod(0o644)
    with started(patched, options=with_model(pipe)) as container:
        wait_until(lambda: heeds_signals(container), "it heeds signals")
        docker("kill", "--signal", signal, container)
        assert wait_for_end(container) == 0, logs(container)


@contextmanager
def loading(image: str, model: str) -> Iterator[Served]:
    """A server that loads its model for seconds: it may use a twentieth of a CPU."""
    options = [*with_model(tiny(MODELS[model], "wide")), "--cpus", "0.05"]
    with started(image, options=options) as container:
        server = Served(base_url(container), container, inspect(container)["State"]["Pid"])
        wait_until(
            lambda: timed(partial(get, server.base_url, "/health")).status != 0, "it listens"
        )
        yield server


@each_model
def test_a_server_that_loads_is_neither_healthy_nor_ready(patched: str, model: str) -> None:
    with loading(patched, model) as server:
        for path in ("/health", "/v1/health", "/ready"):
            response = get(server.base_url, path)
            assert response.status_code == 503, describe(response)
            error = response.json()["error"]
            assert error["code"] == error["type"] == "unavailable_error"
        assert post(server.base_url, input="a text").status_code == 503
        assert_refused(post(server.base_url, path="/v1/chat/completions"))


@each_model
def test_a_signal_while_the_model_loads_ends_it(patched: str, model: str) -> None:
    with loading(patched, model) as server:
        assert get(server.base_url, "/health").status_code == 503
        terminate(server)
        assert exit_code(server) == 0, logs(server.container)
