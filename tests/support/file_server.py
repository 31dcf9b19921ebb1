"""A file server on loopback that misbehaves on request, and what a test must not inherit."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answer:
    """How one request is answered."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    honours_range: bool = True
    says_length: bool = True
    send_only: int | None = None  # bytes of the body before the connection is cut
    wait_for: threading.Event | None = None  # before anything is sent


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(
            f"{self.command} {self.path} {self.headers.get('Range', '')}".strip()
        )
        server.tokens.append(self.headers.get("Authorization"))
        server.asked.set()
        answers = server.answers.get(self.path.partition("?")[0], [Answer(status=404)])
        self._send(answers.pop(0) if len(answers) > 1 else answers[0])

    def _send(self, answer: Answer) -> None:
        if answer.wait_for is not None:
            answer.wait_for.wait()
        status, body, headers = answer.status, answer.body, dict(answer.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and answer.honours_range and status == 200:
            start = int(wanted[1])
            status = 206 if start < len(body) else 416
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: answer.send_only])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class FileServer(ThreadingHTTPServer):
    """Answers each path with its answers in turn, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.asked = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, *answers: Answer) -> str:
        """Answer ``path`` with these in turn, and return its address."""
        self.answers[path] = list(answers)
        return self.url + path

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that goes away in the middle is what some tests are about."""


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Give a test a cache of its own, no waiting between retries, and nobody's settings."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "HF_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("JINA_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setattr("tools.common.web.PAUSES", (0.0, 0.0, 0.0))
