"""One connection to an embedding server, which is opened again when it is lost."""

from __future__ import annotations

import http.client
import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tools.common.errors import ToolError
from tools.serving.client import error_message

#: Seconds until a server must have taken a connection, and have answered: a batch of long texts
#: takes minutes on a small CPU, and waits for those before it.
CONNECT_SECONDS = 10
ANSWER_SECONDS = 1800

#: What is raised where a connection is lost or none comes about.
LOST = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Reply:
    """An answer: ``retry_after`` is in seconds, None where the server does not say it."""

    status: int
    retry_after: float | None
    content: bytes

    @property
    def said(self) -> str:
        """The message of an error."""
        return error_message(self.content.decode(errors="replace"))


def checked_url(url: str) -> str:
    """Return a server's address without the /v1 that clients write; ToolError where it is none."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.username:
        raise ToolError(f"--url {url}: write it as http://localhost:8080")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


class Connection:
    """Sends one request after the other; not httpx, which takes a millisecond for each."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._http = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
        self._path = parts.path
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Return the answer, whatever its status; raises one of LOST where none came."""
        try:
            is_open = self._http.sock is not None
            if not is_open:
                self._http.connect()
                self._http.sock.settimeout(ANSWER_SECONDS)
            self._http.request(method, self._path + path, body, self._headers)
            response = self._http.getresponse()
            content = response.read()
        except LOST:
            self._http.close()
            raise
        after = response.getheader("Retry-After", "")
        return Reply(response.status, float(after) if after.isdecimal() else None, content)

    def close(self) -> None:
        """Close it, when no thread asks any more."""
        self._http.close()

    def cut(self) -> None:
        """End a request that waits in another thread, which then raises one of LOST."""
        lost = self._http.sock
        if lost is not None:
            with suppress(OSError):
                lost.shutdown(socket.SHUT_RDWR)
