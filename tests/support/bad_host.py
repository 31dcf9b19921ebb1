"""A host on loopback on which something is wrong, whatever it was to be: git, registry or Hub."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Fault = Literal["closed", "silent", "missing", "portal", "noise"]

#: What it says must not be taken for what a tool says itself.
_PAGE = (
    b"<!DOCTYPE html>\n<html><body>Please log in to this network. Others: connection refused,\n"
    b"503 Service Unavailable, timed out, no such host, unexpected EOF.</body></html>\n"
)


def _http(status: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(_PAGE)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + _PAGE


#: What is answered to any request: no such thing, the page of a network that wants a login, and
#: bytes of no protocol.
_ANSWERS: dict[Fault, bytes] = {
    "missing": _http("404 Not Found"),
    "portal": _http("200 OK"),
    "noise": b"220 connection refused: EOF " + bytes(range(128, 256)) + b"\r\n\r\n",
}


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        if not self.request.recv(1 << 16):
            return
        self.request.sendall(self.server.answer)
        # A connection that is closed with bytes unread is reset, and the answer may be lost.
        self.request.shutdown(socket.SHUT_WR)
        while self.request.recv(1 << 16):
            pass


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away."""


@contextmanager
def bad_host(fault: Fault) -> Iterator[str]:
    """Yield the host, with its port, where every connection meets the ``fault``.

    ``closed`` refuses it, ``silent`` takes it and says nothing at all; the others answer.
    """
    if fault in ("closed", "silent"):
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            if fault == "silent":
                # The kernel itself accepts what is never answered.
                place.listen(128)
            yield f"127.0.0.1:{place.getsockname()[1]}"
        return
    server = _Server(_ANSWERS[fault])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
