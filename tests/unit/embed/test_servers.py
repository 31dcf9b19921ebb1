"""The servers of a job: who is waited for, for how long, and what ends it with which sentence."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.scripted_server import Said, saying
from tests.support.toy.server import ToyServer
from tests.support.waiting import wait_until
from tools.common.errors import ToolError
from tools.embed import servers as module
from tools.embed.connection import checked_url
from tools.embed.servers import Refused, Servers, Stopped
from tools.facts.models import load_models

MODELS = load_models().models

FINE: Said = (200, {}, "fine")


def test_a_busy_server_is_asked_again_when_it_says_so() -> None:
    asked = []

    def answer(number: int) -> Said:
        asked.append(time.monotonic())
        return (503, {"Retry-After": "1"}, "busy") if number == 0 else FINE

    with saying(answer) as url, Servers([url], None, 2) as servers, ThreadPoolExecutor(2) as pool:
        first = pool.submit(servers.ask, "/", b"")
        wait_until(lambda: servers._servers[0].rests_until > 0, "it rests")
        # Nor does another thread ask it in the meantime.
        second = pool.submit(servers.ask, "/", b"")
        assert first.result() == second.result() == b"fine"
    assert len(asked) == 3
    assert min(asked[1:]) - asked[0] >= 1


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, None])
def test_what_passes_is_asked_again(status: int | None) -> None:
    def answer(number: int) -> Said:
        if number >= 3:
            return FINE
        return None if status is None else (status, {}, "not now")

    with saying(answer) as url, Servers([url], None, 1) as servers:
        servers._servers[0].rest = 0.01
        assert servers.ask("/", b"") == b"fine"


def test_a_server_that_is_gone_ends_the_job_after_a_while() -> None:
    with (
        Servers(["http://127.0.0.1:1"], None, 1, patience=0.3) as servers,
        pytest.raises(ToolError, match=r"no server has answered.*Connection refused.*goes on"),
    ):
        servers.ask("/", b"")


def test_one_server_does_what_another_cannot() -> None:
    with (
        saying(lambda _: FINE) as url,
        Servers(["http://127.0.0.1:1", url], None, 1, patience=0) as servers,
    ):
        for _ in range(20):
            assert servers.ask("/", b"") == b"fine"


def test_a_long_silence_is_said_once_and_so_is_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SOON", 0.0)
    with (
        saying(lambda number: (503, {"Retry-After": "0"}, "no") if number < 5 else FINE) as url,
        Servers([url], None, 1) as servers,
    ):
        servers.ask("/", b"")
        servers.ask("/", b"")
    assert capsys.readouterr().err.splitlines() == [
        f"!! {url} does not answer (503: no); it is asked again and again",
        f"!! {url} answers again",
    ]


def test_the_servers_share_the_work() -> None:
    together = threading.Barrier(4, timeout=60)
    asked: Counter[str] = Counter()

    def noting(name: str) -> Callable[[int], Said]:
        def answer(_: int) -> Said:
            together.wait()
            asked[name] += 1
            return FINE

        return answer

    with (
        saying(noting("a")) as one,
        saying(noting("b")) as other,
        Servers([one, other], None, 2) as servers,
        ThreadPoolExecutor(4) as pool,
    ):
        for waiting in [pool.submit(servers.ask, "/", b"") for _ in range(4)]:
            waiting.result()
    assert asked == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, Refused, "answered 400: why not"),
        (413, Refused, "answered 413: why not"),
        (401, ToolError, "wants a key: set LLAMA_API_KEY.*--api-key-file"),
        (404, ToolError, "answered 404: why not; is the address right"),
        (500, ToolError, "answered 500: why not"),
    ],
)
def test_what_does_not_pass_ends_at_once(status: int, kind: type[ToolError], said: str) -> None:
    body = json.dumps({"error": {"message": "why not"}})
    asked = []

    def answer(number: int) -> Said:
        asked.append(number)
        return status, {}, body

    with saying(answer) as url, Servers([url], None, 1) as servers:
        with pytest.raises(ToolError, match=said) as caught:
            servers.ask("/v1/embeddings", b"")
        assert type(caught.value) is kind
        assert f"{url}/v1/embeddings" in str(caught.value)
    assert asked == [0]


def test_what_waits_is_ended_at_once() -> None:
    asked, let_go = threading.Event(), threading.Event()

    def answer(_: int) -> Said:
        asked.set()
        let_go.wait(60)
        return None

    with (
        saying(answer) as url,
        Servers([url], None, 1) as servers,
        ThreadPoolExecutor(2) as pool,
    ):
        under_way = pool.submit(servers.ask, "/", b"")
        assert asked.wait(60)
        waits = pool.submit(servers.ask, "/", b"")
        servers.stop()
        for each in (under_way, waits):
            with pytest.raises(Stopped):
                each.result(timeout=60)
        let_go.set()


def test_all_servers_must_serve_the_same_model() -> None:
    with ExitStack() as stack:
        nano, again = (stack.enter_context(ToyServer(MODELS["nano"])) for _ in range(2))
        small = stack.enter_context(ToyServer(MODELS["small"]))
        urls = [each.described().base_url for each in (nano, again, small)]
        with Servers(urls[:2], None, 1) as servers:
            assert servers.served().model == nano.identity.name
            assert servers.served().dimensions == 768
        with (
            Servers(urls, None, 1) as servers,
            pytest.raises(ToolError, match=r"nano.*small.*must serve the same model"),
        ):
            servers.served()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ((200, {}, "<html>"), "is it a server of ours"),
        ((200, {}, '{"data": [{"id": "gpt"}]}'), "is it a server of ours"),
        ((401, {}, "{}"), "wants a key"),
        ((503, {}, "loading"), "answered 503: loading"),
        (None, "no embedding server answers"),
    ],
)
def test_what_is_no_server_of_ours_is_said(said: Said, sentence: str) -> None:
    with (
        saying(lambda _: said) as url,
        Servers([url], None, 1) as servers,
        pytest.raises(ToolError, match=f"{url}/v1/models.*{sentence}|{sentence}.*{url}/v1/models"),
    ):
        servers.served()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://localhost:8080/v1/", "http://localhost:8080"),
        ("https://example.org/nano/v1", "https://example.org/nano"),
    ],
)
def test_an_address_is_taken_as_clients_write_it(given: str, address: str) -> None:
    assert checked_url(given) == address


@pytest.mark.parametrize(
    "given", ["localhost:8080", "ftp://x", "http://", "http://x:port", "http://a:b@x", "http://x?y"]
)
def test_what_is_no_address_is_said(given: str) -> None:
    with pytest.raises(ToolError, match="write it as"):
        checked_url(given)


def test_a_path_before_the_servers_own_is_kept_and_the_key_is_sent() -> None:
    with (
        ToyServer(MODELS["nano"], api_key="secret") as toy,
        Servers([f"{toy.described().base_url}/query"], "secret", 1) as servers,
    ):
        assert json.loads(servers.ask("/v1/embeddings", b'{"input": "a"}'))["data"]
    assert toy.metrics.requests == {("/query/v1/embeddings", 200): 1}
