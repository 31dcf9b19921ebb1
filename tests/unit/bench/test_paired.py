"""Tests of the paired comparison: what it says of a ratio, and that it sends what it counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.bench.paired import WORKLOADS, Workload, compare, run_round
from tools.bench.peers.servers import MeasuredServer
from tools.common.errors import ToolError


class Counting(BaseHTTPRequestHandler):
    """Answers every request and keeps the texts; 500 after ``fail_after`` requests."""

    texts: list[str]
    requests: int
    fail_after: int | None

    def do_POST(self) -> None:
        kind = type(self)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind.texts.extend(body["input"])
        kind.requests += 1
        failed = kind.fail_after is not None and kind.requests > kind.fail_after
        answer = json.dumps({"data": [{"embedding": [1.0]} for _ in body["input"]]}).encode()
        self.send_response(500 if failed else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def handler() -> type[Counting]:
    return type("Fresh", (Counting,), {"texts": [], "requests": 0, "fail_after": None})


@pytest.fixture
def url(handler: type[Counting]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Waking:
    """A server of which only is known when it was let run."""

    name: str
    base_url: str
    woken: list[str]

    def send_signal(self, name: str) -> None:
        if name == "CONT":
            self.woken.append(self.name)

    def peak_bytes(self) -> int:
        raise NotImplementedError

    def restart_seconds(self) -> float:
        raise NotImplementedError

    def last_words(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_round_sends_what_it_says_and_no_text_twice(
    workload: Workload, url: str, handler: type[Counting]
) -> None:
    run_round(url, workload, 0)
    run_round(url, workload, 1)
    assert handler.requests == 2 * workload.requests
    assert len(set(handler.texts)) == 2 * workload.requests * workload.texts


def test_a_server_that_fails_in_the_middle_is_an_error(url: str, handler: type[Counting]) -> None:
    handler.fail_after = 3
    with pytest.raises(ToolError, match="answered 500 to a request"):
        run_round(url, WORKLOADS[0], 0)


def test_each_of_the_servers_goes_first_in_its_turn(url: str) -> None:
    woken: list[str] = []
    servers: list[MeasuredServer] = [Waking(name, url, woken) for name in "abc"]
    speeds = compare(servers, Workload("one text", requests=1, texts=1, words=1, clients=1), 3)
    assert "".join(woken) == "abcbcacab"
    assert [len(each) for each in speeds] == [3, 3, 3]
