"""Connections on which a test sends what no HTTP client would: half a header, or no body."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Self

import httpx

#: Seconds without a byte after which a server is taken to hang; its answers take milliseconds.
HANG_SECONDS = 20.0


class RawConnection:
    """One connection to a server; use it as a context manager."""

    def __init__(self, base_url: str, timeout: float | None = None) -> None:
        self.url = httpx.URL(base_url)
        secure = self.url.scheme == "https"
        address = (self.url.host, self.url.port or (443 if secure else 80))
        self.socket = socket.create_connection(address, timeout or HANG_SECONDS)
        # What a test sends goes out as it is, and at once.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            context = ssl.create_default_context()
            self.socket = context.wrap_socket(self.socket, server_hostname=self.url.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave, whatever is still to come."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send these bytes and nothing else."""
        self.socket.sendall(data)

    def send_head(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Send a request's line and its whole header, with a Host."""
        place = self.url.raw_path.decode().rstrip("/") + path
        lines = [f"{method} {place} HTTP/1.1", f"Host: {self.url.netloc.decode()}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer(self, method: str = "POST", path: str = "/v1/embeddings") -> httpx.Response:
        """Read one answer; ``method`` and ``path`` are what its description says was asked.

        Raises AssertionError where none comes, or not a whole one.
        """
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"no answer to {method} {path}: {error!r}") from error
        finally:
            response.close()
        headers = {k: v for k, v in response.getheaders() if k.lower() != "transfer-encoding"}
        request = httpx.Request(method, self.url.join(path))
        return httpx.Response(response.status, headers=headers, content=content, request=request)

    def rest(self) -> bytes:
        """Return all that still comes until the server closes.

        Raises AssertionError where it does not close.
        """
        received = b""
        try:
            while data := self.socket.recv(65536):
                received += data
        except ConnectionError:
            return received
        except TimeoutError:
            raise AssertionError(f"the server keeps the connection; so far {received!r}") from None
        return received


def answer_before_body(
    base_url: str, path: str, headers: Mapping[str, str], length: int = 1000
) -> httpx.Response:
    """Announce a body, send none of it, and return what the server answers all the same."""
    with RawConnection(base_url) as connection:
        kind = {"Content-Type": "application/json", "Content-Length": str(length)}
        connection.send_head("POST", path, {**kind, **headers})
        return connection.answer("POST", path)
