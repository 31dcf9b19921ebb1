"""Who waits for whom: a search does not wait for documents, and a document not forever.

Each test searches while the server is at work on long inputs, and sees what of them is computed by
then. No time is measured but against a server that keeps somebody waiting for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.contract.checks.inputs import token_array
from tests.support.boots import MODELS, Case, Served, each_case, each_model, plain, served, tiny
from tests.support.broken_weights import with_weight
from tests.support.client import Input, describe
from tests.support.containers import docker, with_model
from tests.support.crowds import (
    all_at_once,
    in_flight,
    kept_busy,
    post,
    timed,
)
from tests.support.waiting import wait_until
from tests.support.work import texts, wait_until_working

SMALL = Case(MODELS["small"], "compose")
#: Of small, which takes seconds on tiny weights, in dozens of batches.
LONG_TOKENS = 8_000


def long_input(server: Served, tokens: int = LONG_TOKENS) -> list[int]:
    with server.client() as client:
        return token_array(client, tokens)


def batches(server: Served) -> float:
    """Return how many batches the server has computed."""
    with server.client() as client:
        return client.metrics()["llamacpp:n_decode_total"]


def assert_searches_overtake(server: Served, inputs: Sequence[Input]) -> Any:
    """Send a request, search while it is computed, and return the request's answer.

    All searches have their answers before half of the request is computed.
    """
    searches = texts(16, 4, seed=1)
    before = batches(server)
    with in_flight(1, lambda _: post(server.base_url, input=inputs)) as request:
        wait_until(lambda: batches(server) >= before + 2, "two batches of it")
        found = all_at_once(len(searches), lambda n: post(server.base_url, input=searches[n]))
        meanwhile = batches(server) - before
        response = request[0].result().response
    assert [each.status for each in found] == [200] * len(searches), found
    whole = batches(server) - before
    assert meanwhile < whole / 2, f"after {meanwhile:.0f} of {whole:.0f} batches"
    assert response is not None, request[0].result()
    return response.json()["data"]


def test_searches_do_not_wait_for_a_long_input(patched: str) -> None:
    """They are computed between two batches of it. The slot with the least number went on."""
    with served(patched, SMALL) as server:
        for text in texts(4, 4):  # slots are taken from the last: some will be on each side of it
            post(server.base_url, input=text)
        document = long_input(server)
        held_up = assert_searches_overtake(server, [document])
        assert held_up == post(server.base_url, input=[document]).json()["data"]


@each_case
def test_searches_do_not_wait_for_a_large_request(patched: str, case: Case) -> None:
    """What waits for a slot was served in the order in which it came."""
    with served(patched, case) as server:
        assert_searches_overtake(server, texts(768, 60))


def test_long_inputs_do_not_take_all_slots(patched: str) -> None:
    """There are 16: without a bound, a search waited until one of as many long inputs was done."""
    with served(patched, SMALL) as server:
        document = long_input(server)
        with in_flight(20, lambda _: post(server.base_url, input=[document])) as longs:
            wait_until_working(server, len(longs))
            outcome = timed(partial(post, server.base_url, input="a search"))
            done = sum(each.done() for each in longs)
            docker("kill", server.container)  # the others would take minutes
        assert outcome.status == 200, outcome
        assert done == 0, f"the search waited for {done} documents"


@each_model
def test_a_long_input_has_its_turn_while_searches_never_end(patched: str, model: str) -> None:
    """After 20 ms for each of its tokens, here 4 seconds, none that comes later goes before it."""
    searches = texts(64, 20)  # far more than there are slots
    with served(patched, Case(MODELS[model], "compose")) as server:
        document = long_input(server, 200)
        docker("update", "--cpus", "0.2", server.container)  # so that searches always wait
        with kept_busy(len(searches), lambda n: post(server.base_url, input=searches[n])):
            wait_until_working(server, len(searches) // 2)
            outcome = timed(partial(post, server.base_url, input=[document]))
            docker("update", "--cpus", "2", server.container)
    assert outcome.status == 200, outcome
    assert outcome.seconds < 60, outcome


def computed_aside(server: Served) -> float:
    """Return how many inputs were computed between two parts of a batch."""
    with server.client() as client:
        return client.metrics()["jina_aside_inputs_total"]


@each_model
def test_searches_do_not_wait_for_the_end_of_a_batch(patched: str, model: str) -> None:
    """On nano a long input is a single batch. What is computed in its middle has the same bytes."""
    searches = texts(6, 4, seed=1)
    with served(patched, Case(MODELS[model], "compose")) as server:
        document = long_input(server)
        alone = [post(server.base_url, input=each).json()["data"] for each in searches]
        document_alone = post(server.base_url, input=[document]).json()["data"]
        before = computed_aside(server)
        docker("update", "--cpus", "0.5", server.container)
        with in_flight(1, lambda _: post(server.base_url, input=[document])) as request:
            wait_until_working(server)
            found = [post(server.base_url, input=each).json()["data"] for each in searches]
            waited = request[0].done()
            docker("update", "--cpus", "2", server.container)
            response = request[0].result().response
        assert not waited, "the searches waited for the document"
        assert computed_aside(server) > before
        assert found == alone
        assert response is not None, request[0].result()
        assert response.json()["data"] == document_alone


def test_what_is_not_a_search_waits_for_the_end_of_a_batch(patched: str) -> None:
    """A request of more than 512 tokens would hold up the batch that was there before it."""
    with served(patched, Case(MODELS["nano"], "compose")) as server:
        document = long_input(server)
        with in_flight(1, lambda _: post(server.base_url, input=[document])):
            wait_until_working(server)
            assert post(server.base_url, input=texts(64, 20)).status_code == 200
        assert computed_aside(server) == 0


def test_broken_weights_are_found_aside_too(patched: str, tmp_path: Path) -> None:
    """What cannot be computed there is left to the server itself, which says what is wrong."""
    file = with_weight(tiny(MODELS["nano"]), tmp_path, float("nan"))
    with plain(patched, options=with_model(file)) as server:
        document = long_input(server)
        with in_flight(1, lambda _: post(server.base_url, input=[document])) as request:
            wait_until_working(server)
            refused = post(server.base_url, input="a search")
        assert refused.status_code == 500, describe(refused)
        assert "finite" in refused.json()["error"]["message"]
        assert request[0].result().status == 500
