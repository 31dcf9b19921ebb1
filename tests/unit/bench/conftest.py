"""A server that counts, for loads that are sent to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Counting(BaseHTTPRequestHandler):
    """Answers every request and keeps the inputs; 500 after ``fail_after`` requests."""

    inputs: list[str | list[int]]
    requests: int
    fail_after: int | None

    def do_POST(self) -> None:
        kind = type(self)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind.inputs.extend(body["input"])
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
    return type("Fresh", (Counting,), {"inputs": [], "requests": 0, "fail_after": None})


class Listening(ThreadingHTTPServer):
    request_queue_size = 128  # of connections that come at once


@pytest.fixture
def url(handler: type[Counting]) -> Iterator[str]:
    server = Listening(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
