"""The cache of vectors: the same bytes without the work, within its size, and off by default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.support.boots import MODELS, Case, each_case, each_model, served
from tests.support.client import Client, Input
from tests.support.containers import memory_bytes
from tests.support.crowds import all_at_once, post
from tests.support.work import texts

CACHE = {"JINA_CACHE_MB": "4"}
MB = 1024 * 1024


def counted(client: Client) -> tuple[float, float, float]:
    """Return the inputs found in the cache and not found there, and the batches computed."""
    now = client.metrics()
    return (
        now["jina_cache_hits_total"],
        now["jina_cache_misses_total"],
        now["llamacpp:n_decode_total"],
    )


def embeddings(client: Client, inputs: Sequence[Input], **fields: object) -> list[object]:
    """Return the vectors as they stand in the answer, byte by byte."""
    data = client.embeddings(inputs, **fields)["data"]
    assert [item["index"] for item in data] == list(range(len(inputs)))
    return [item["embedding"] for item in data]


@each_case
def test_what_comes_again_is_not_computed_again(patched: str, case: Case) -> None:
    known, new = texts(2, 8), texts(2, 8, seed=1)
    with served(patched, case, settings=CACHE) as server, server.client() as client:
        first = client.embeddings(known)
        assert counted(client)[:2] == (0, len(known))
        batches = counted(client)[2]
        again = client.embeddings(known)
        assert again == first  # usage too
        assert counted(client) == (len(known), len(known), batches)

        mixed = embeddings(client, [new[0], known[1], new[1], known[0]])
        assert counted(client)[:2] == (2 * len(known), len(known) + len(new))
        assert [mixed[3], mixed[1]] == [item["embedding"] for item in first["data"]]
        assert [mixed[0], mixed[2]] == embeddings(client, new)


@each_model
def test_every_form_of_an_answer_is_that_of_a_server_without_a_cache(
    patched: str, model: str
) -> None:
    text = texts(1, 8)[0]
    forms: list[dict[str, object]] = [
        {},
        {"encoding_format": "base64"},
        {"dimensions": 64},
        {"output_dtype": "int8"},
        {"embd_normalize": -1},
        {"embd_normalize": 1},
        {"input_type": "query"},
        {"input_type": "document"},
        {"truncate": True},
    ]
    case = Case(MODELS[model], "plain")
    with served(patched, case) as server, server.client() as client:
        right = [client.embeddings([text], **form) for form in forms]
    with served(patched, case, settings=CACHE) as server, server.client() as client:
        for _ in range(2):
            assert [client.embeddings([text], **form) for form in forms] == right
        # Of these forms five vectors are made: three lengths of one text, and two sides of it.
        assert counted(client)[:2] == (2 * len(forms) - 5, 5)


@each_model
def test_the_cache_keeps_to_its_size_and_forgets_what_was_not_used_for_long(
    patched: str, model: str
) -> None:
    limit = 8 * MB
    used, *others = texts(5_000, 6)  # of which 1,600 (small) or 2,000 (nano) fit
    case = Case(MODELS[model], "plain")
    with (
        served(patched, case, settings={"JINA_CACHE_MB": "8"}) as server,
        server.client() as client,
    ):
        right = embeddings(client, [used, others[0]])
        resident = []  # after each request, in bytes
        accounted = []
        for begin in range(1, len(others), 250):
            client.embeddings(others[begin : begin + 250], encoding_format="base64")
            assert embeddings(client, [used]) == right[:1]
            resident.append(memory_bytes(server.container, "VmRSS"))
            accounted.append(client.metrics()["jina_cache_bytes"])
        hits, misses, _ = counted(client)
        assert (hits, misses) == (20, 2 + len(others) - 1)
        now = client.metrics()
        assert limit - 8192 < now["jina_cache_bytes"] <= limit
        assert 1_400 < now["jina_cache_vectors"] < len(others)

        # The median, because each thread that serves its first such request takes 18 MB once.
        filling = np.diff(accounted) > 0.5 * (accounted[1] - accounted[0])
        grown = np.diff(resident)
        assert np.median(grown[filling]) < 1.3 * (accounted[1] - accounted[0])
        assert np.median(grown[~filling]) < MB / 2  # full: one or more was added before

        assert embeddings(client, [others[0]]) == right[1:]  # forgotten, and computed again
        assert counted(client)[:2] == (hits, misses + 1)


@each_model
def test_many_clients_at_once_get_the_right_vectors(patched: str, model: str) -> None:
    """Of few texts, so that several compute, keep, find and push out the same ones."""
    few = texts(40, 8)
    settings = {"JINA_CACHE_MB": "1"}
    rng = np.random.default_rng(0)
    with served(patched, Case(MODELS[model], "plain")) as server, server.client() as client:
        right = embeddings(client, few)
    with served(patched, Case(MODELS[model], "plain"), settings=settings) as server:
        chosen = rng.integers(0, len(few), (64, 16))

        for outcome, indices in zip(
            all_at_once(64, lambda n: post(server.base_url, input=[few[i] for i in chosen[n]])),
            chosen,
            strict=True,
        ):
            assert outcome.response is not None, outcome
            data = outcome.response.json()["data"]
            assert [item["embedding"] for item in data] == [right[i] for i in indices]
        with server.client() as client:
            hits, misses, _ = counted(client)
    assert hits + misses == chosen.size
    assert len(few) <= misses < chosen.size / 2


@each_model
def test_nothing_is_kept_by_default(patched: str, model: str) -> None:
    with served(patched, Case(MODELS[model], "plain")) as server, server.client() as client:
        client.embeddings(["a text"])
        before = counted(client)
        client.embeddings(["a text"])
        assert counted(client)[:2] == (0, 0)
        assert counted(client)[2] > before[2]
        assert client.metrics()["jina_cache_bytes"] == 0
