"""Limits: what is too large is refused, what is too much at once is sent back to be sent again."""

from __future__ import annotations

import httpx
import openai
import pytest

from tests.contract.checks.errors import assert_refused
from tests.support.boots import Case, Served, each_case, served
from tests.support.client import describe, vectors
from tests.support.crowds import PATIENCE_SECONDS, PROMPT_SECONDS, in_flight, post, timed
from tests.support.sockets import RawConnection
from tests.support.waiting import wait_until
from tests.support.work import texts, wait_until_working

MB = 1024**2
#: Keeps a server on tiny weights busy for seconds.
MUCH = texts(400, 40)


def padded(size: int) -> bytes:
    """A good request of exactly so many bytes."""
    body = b'{"input": "a text"'
    return body + b" " * (size - len(body) - 1) + b"}"


def assert_overloaded(response: httpx.Response) -> None:
    """Expect a refusal that says when to try again."""
    answer = describe(response)
    assert response.status_code == 503, answer
    assert response.headers.get("Retry-After") == "1", answer
    error = response.json()["error"]
    assert error["code"] == error["type"] == "overloaded_error", answer
    assert error["message"], answer


@each_case
def test_a_body_over_the_limit_is_refused(patched: str, case: Case) -> None:
    """Sent whole, too: its client reads the answer, not the end of the connection."""
    with served(patched, case, settings={"JINA_MAX_BODY_MB": "1"}) as server:
        with server.client() as client:
            for body, status in ((padded(MB), 200), (padded(MB + 1), 413), (padded(3 * MB), 413)):
                response = client.request("POST", "/v1/embeddings", content=body)
                assert response.status_code == status, describe(response)
            assert_refused(response)
        server.assert_alive()


@each_case
def test_a_body_in_chunks_has_the_same_limit(patched: str, case: Case) -> None:
    with (
        served(patched, case, settings={"JINA_MAX_BODY_MB": "1"}) as server,
        server.client() as client,
    ):

        def chunks(size: int) -> list[bytes]:
            body = padded(size)
            return [body[start : start + 100_000] for start in range(0, size, 100_000)]

        good = client.request("POST", "/v1/embeddings", content=iter(chunks(MB - 1)))
        assert good.status_code == 200, describe(good)
        with RawConnection(server.base_url) as connection:
            connection.send_head("POST", "/v1/embeddings", {"Transfer-Encoding": "chunked"})
            for chunk in chunks(3 * MB):
                try:
                    connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                except ConnectionError:
                    break
            response = connection.answer()
        assert response.status_code == 413, describe(response)
        assert_refused(response)


@each_case
def test_the_number_of_inputs_is_a_setting(patched: str, case: Case) -> None:
    with (
        served(patched, case, settings={"JINA_MAX_INPUTS": "3"}) as server,
        server.client() as client,
    ):
        assert client.embed(["a", "b", "c"]).shape == (3, case.model.dims)
        response = client.request("POST", "/v1/embeddings", json={"input": list("abcd")})
        assert response.status_code == 400, describe(response)
        assert_refused(response)


@each_case
def test_as_many_inputs_as_openai_takes_are_served(patched: str, case: Case) -> None:
    with served(patched, case) as server, server.client() as client:
        assert client.embed(["a"] * 2048).shape == (2048, case.model.dims)


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"JINA_MAX_WAITING_INPUTS": "450"}, ["a"] * 100),
        ({"JINA_MAX_WAITING_MB": "1", "JINA_MAX_BODY_MB": "1"}, ["a " * 500_000, "b"]),
    ],
    ids=["inputs", "bytes"],
)
@each_case
def test_more_than_may_wait_is_refused_at_once(
    patched: str, case: Case, settings: dict[str, str], more: list[str]
) -> None:
    """What waits already is answered; a small request that still fits is, too."""
    with served(patched, case, settings=settings) as server:
        with in_flight(1, lambda _: post(server.base_url, input=MUCH)) as first:
            wait_until_working(server, len(MUCH))
            refused = timed(lambda: post(server.base_url, input=more))
            assert refused.response is not None, refused
            assert_overloaded(refused.response)
            assert refused.seconds < PROMPT_SECONDS
            assert not first[0].done(), "too little work for this test"
            small = post(server.base_url, input=["a", "b"])
        assert small.status_code == 200, describe(small)
        answered = first[0].result()
        assert answered.response is not None, answered
        assert vectors(answered.response.json()).shape == (len(MUCH), case.model.dims)
        with server.client() as client:
            samples = client.samples()
        assert samples.total("jina_refused_total") == 1
        assert samples.total("jina_waiting_inputs") == samples.total("jina_waiting_bytes") == 0


@each_case
def test_what_comes_when_nothing_waits_is_always_taken(patched: str, case: Case) -> None:
    """Else a limit below the size of a request would refuse it for ever."""
    settings = {"JINA_MAX_WAITING_INPUTS": "1", "JINA_MAX_WAITING_MB": "1"}
    with served(patched, case, settings=settings) as server, server.client() as client:
        assert client.embed(["a", "b", "c"]).shape == (3, case.model.dims)
        response = client.request("POST", "/v1/embeddings", content=padded(2 * MB))
        assert response.status_code == 200, describe(response)


@each_case
def test_openais_client_tries_again_by_itself(patched: str, case: Case) -> None:
    """It waits for as long as Retry-After says."""
    with (
        served(patched, case, settings={"JINA_MAX_WAITING_INPUTS": "400"}) as server,
        server.client() as client,
    ):
        with in_flight(1, lambda _: post(server.base_url, input=MUCH)):
            wait_until_working(server, len(MUCH))
            with openai.OpenAI(
                base_url=f"{server.base_url}/v1",
                api_key="unused",
                max_retries=int(PATIENCE_SECONDS),
            ) as official:
                answer = official.embeddings.create(model="any", input=["a text", "another"])
        assert len(answer.data) == 2
        assert client.samples().total("jina_requests_total", status="503") >= 1


def computed(server: Served) -> float:
    """How many tokens the server has computed since its start."""
    with server.client() as client:
        return client.samples().total("llamacpp:prompt_tokens_total")


@each_case
def test_a_client_that_leaves_stops_costing(patched: str, case: Case) -> None:
    """Its batch of short texts was computed to the end."""
    with served(patched, case) as server, server.client() as client:
        whole = client.embeddings(texts(40, 40, seed=1))["usage"]["prompt_tokens"] * 10
        before = computed(server)
        with RawConnection(server.base_url) as leaving:
            body = httpx.Request("POST", server.base_url, json={"input": MUCH}).content
            head = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            leaving.send_head("POST", "/v1/embeddings", head)
            leaving.send(body)
            wait_until_working(server, len(MUCH))
        wait_until(
            lambda: client.samples().total("jina_waiting_inputs") == 0, "its inputs forgotten"
        )
        # What answers next does not wait for what is left of the batch.
        assert post(server.base_url, input="a text").status_code == 200
        assert computed(server) - before < whole / 2
