"""A request to the toy, whose body may still be on its way."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import httpx


class ToyRequest:
    """A request whose header has come; its body is read when it is asked for."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = httpx.Headers(list(handler.headers.items()))
        self._file = handler.rfile
        self._left = int(handler.headers.get("Content-Length", 0))

    def read(self) -> bytes:
        """Return what of the body has not been read."""
        parts = []
        while self._left and (part := self._file.read(min(self._left, 65536))):
            self._left -= len(part)
            parts.append(part)
        return b"".join(parts)

    def drop(self) -> None:
        """Read the rest once the answer is out, so that a client that still sends can read it."""
        self.read()
