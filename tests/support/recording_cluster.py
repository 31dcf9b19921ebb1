"""A recorder that stands in for a cluster in the runner's unit tests. It is not Elasticsearch.

It writes down what it is sent and answers what the test says; it stores and searches nothing, so
no test may conclude from it that Elasticsearch would accept a request.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sent:
    """One request as it came."""

    method: str
    path: str
    body: str
    authorization: str | None
    content_type: str | None


#: What answers a request: a status and a JSON value.
Answer = Callable[[Sent], tuple[int, Any]]


def accept(_sent: Sent) -> tuple[int, Any]:
    return 200, {}


class _Handler(BaseHTTPRequestHandler):
    server: RecordingCluster

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        sent = Sent(
            self.command,
            self.path,
            self.rfile.read(length).decode(),
            self.headers.get("Authorization"),
            self.headers.get("Content-Type"),
        )
        self.server.sent.append(sent)
        status, value = self.server.answer(sent)
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.server.named:
            # The official client talks to nobody without it.
            self.send_header("X-Elastic-Product", "Elasticsearch")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing: pytest shows what matters."""


class RecordingCluster(ThreadingHTTPServer):
    """Answers on a free port of this machine."""

    def __init__(self, answer: Answer, *, named: bool, certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http"
        if certificate is not None:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answer = answer
        self.named = named
        self.sent: list[Sent] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


@contextmanager
def recording_cluster(
    answer: Answer = accept, *, named: bool = True, certificate: Path | None = None
) -> Iterator[RecordingCluster]:
    """Yield a recorder; without ``named`` it does not call itself what the client asks for.

    With a ``certificate``, a file of it and its key in PEM, it speaks TLS.
    """
    cluster = RecordingCluster(answer, named=named, certificate=certificate)
    thread = threading.Thread(target=cluster.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield cluster
    finally:
        cluster.shutdown()
        thread.join()
        cluster.server_close()
