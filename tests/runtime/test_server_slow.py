"""Slow clients: those that send a request byte by byte, or only half of one, hold nothing up."""

from __future__ import annotations

import json
import select
import time
from contextlib import ExitStack
from functools import partial

import pytest

from tests.contract.checks.errors import assert_refused
from tests.support.boots import Case, Served, each_case, served
from tests.support.client import describe
from tests.support.crowds import PROMPT_SECONDS, post, timed
from tests.support.sockets import RawConnection
from tests.support.waiting import HANG_SECONDS, wait_until
from tests.support.work import texts

HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"input": "a text"}'
#: More than there are threads for requests, whatever the limit of processes.
SLOW = 600


def trickle(connection: RawConnection, data: bytes) -> None:
    """Send a byte every now and then until the server answers or closes.

    Each byte alone comes soon after the one before: only a limit for the whole ends this.
    """
    deadline = time.monotonic() + HANG_SECONDS
    for byte in data:
        readable, _, _ = select.select([connection.socket], [], [], 0.1)
        if readable:
            return
        assert time.monotonic() < deadline, "it still reads"
        try:
            connection.send(bytes([byte]))
        except ConnectionError:
            return
    raise AssertionError("it took all of it, however slow")


def assert_timed_out(connection: RawConnection) -> None:
    """Expect 408, or nothing, and the end of the connection."""
    said = connection.rest()
    assert said == b"" or said.startswith(b"HTTP/1.1 408 "), said


def connections(server: Served) -> float:
    """How many connections the server has, that of this question included."""
    with server.client() as client:
        return client.samples().total("jina_connections")


@each_case
def test_a_slow_header_is_ended(patched: str, case: Case) -> None:
    with (
        served(patched, case, settings={"JINA_HEADER_SECONDS": "1"}) as server,
        RawConnection(server.base_url) as slow,
        RawConnection(server.base_url) as half,
    ):
        half.send(HEAD)
        trickle(slow, HEAD + b"X-Padding: " + b"x" * 10_000)
        assert_timed_out(slow)
        assert_timed_out(half)
        server.assert_alive()


@each_case
def test_a_slow_body_is_ended(patched: str, case: Case) -> None:
    with (
        served(patched, case, settings={"JINA_BODY_SECONDS": "1"}) as server,
        RawConnection(server.base_url) as slow,
        RawConnection(server.base_url) as half,
    ):
        half.send(HEAD + b"Content-Length: 100\r\n\r\n" + BODY)
        slow.send(HEAD + b"Content-Length: 10000\r\n\r\n")
        trickle(slow, b'{"input": "' + b"x" * 9_000)
        for connection in (slow, half):
            response = connection.answer()
            assert response.status_code == 408, describe(response)
            assert_refused(response)
            assert connection.rest() == b""
        server.assert_alive()


@each_case
def test_an_idle_connection_is_closed(patched: str, case: Case) -> None:
    with (
        served(patched, case, settings={"JINA_IDLE_SECONDS": "1"}) as server,
        RawConnection(server.base_url) as silent,
        RawConnection(server.base_url) as used,
    ):
        used.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        assert used.answer().status_code == 200
        assert silent.rest() == b""
        assert used.rest() == b""
        wait_until(lambda: connections(server) == 1, "the closed connections forgotten")


@each_case
def test_the_time_for_a_body_is_not_that_for_its_answer(patched: str, case: Case) -> None:
    """Seconds that the server itself takes are not the client's."""
    settings = {"JINA_BODY_SECONDS": "1", "JINA_HEADER_SECONDS": "1", "JINA_IDLE_SECONDS": "1"}
    with served(patched, case, settings=settings) as server:
        outcome = timed(lambda: post(server.base_url, input=texts(1200, 60)))
        assert outcome.status == 200, outcome
        assert outcome.seconds > 2, "too little work for this test"


@pytest.mark.parametrize(
    "announced",
    [[1000], [8_000_000, 500_000, 30_000, 2_000, 100, 10]],
    ids=["small", "all that may wait"],
)
@each_case
def test_half_sent_bodies_do_not_hold_others_up(
    patched: str, case: Case, announced: list[int]
) -> None:
    """They cost their senders nothing; a thread or room for the bytes for each would be a stall."""
    with served(patched, case) as server, ExitStack() as stack:
        for size in announced * (SLOW // len(announced)):
            connection = stack.enter_context(RawConnection(server.base_url))
            connection.send(HEAD + b"Content-Length: %d\r\n\r\n" % size + BODY[:5])
        for number in range(5):
            outcome = timed(partial(post, server.base_url, input=f"text {number}"))
            assert outcome.status == 200, outcome
            assert outcome.seconds < PROMPT_SECONDS, outcome
        server.assert_alive()


@each_case
def test_a_client_that_does_not_read_its_answer_is_let_go(patched: str, case: Case) -> None:
    """Its answer is megabytes, more than the kernels in between keep for it."""
    settings = {"JINA_BODY_SECONDS": "2"}
    with served(patched, case, settings=settings) as server, RawConnection(server.base_url) as deaf:
        content = json.dumps({"input": ["a"] * 1800}).encode()
        deaf.send_head("POST", "/v1/embeddings", {"Content-Length": str(len(content))})
        deaf.send(content)
        wait_until(lambda: connections(server) == 1, "the deaf client's connection closed")
        assert post(server.base_url, input="a text").status_code == 200
        server.assert_alive()
