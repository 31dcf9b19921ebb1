"""The servers of a job: who gets the next request, and who is waited for.

Each has some connections. A server that says "not now", or loses a request, rests, and its request
goes to whichever server is free first. That is safe: the same text gives the same vector.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tools.common.console import loud
from tools.common.errors import ToolError
from tools.embed.connection import LOST, Connection, Reply

#: Seconds in which none of the servers gives an answer, and the job ends: a restart takes less.
PATIENCE = 600.0
#: Seconds that a server rests for which it does not say so itself: doubled each time.
FIRST_REST, LONGEST_REST = 0.5, 15.0
#: Seconds of silence that are not worth a word.
SOON = 10.0

#: Too much waits, the model is being loaded, or a proxy finds no server: it is asked again.
NOT_NOW = frozenset({408, 429, 502, 503, 504})
#: The request is wrong, and with it one of its texts.
WRONG = frozenset({400, 413, 422})


class Refused(ToolError):  # noqa: N818 - named for what happened, as a person reads it
    """A server found a request wrong."""


class Stopped(Exception):  # noqa: N818
    """The job ends, and this request is not wanted any more."""


@dataclass(frozen=True)
class Served:
    """What a server says that it serves."""

    model: str
    dimensions: int


@dataclass
class _Server:
    """A server, its connections that are free, and since when it has not answered."""

    url: str
    free: list[Connection]
    rests_until: float = 0.0
    rest: float = FIRST_REST
    silent_since: float | None = None
    named: bool = False
    all: list[Connection] = field(default_factory=list)


class Servers:
    """Asks several servers, from several threads; use it as a context manager."""

    def __init__(
        self, urls: Sequence[str], key: str | None, connections: int, patience: float = PATIENCE
    ) -> None:
        self._servers = []
        for url in urls:
            made = [Connection(url, key) for _ in range(connections)]
            self._servers.append(_Server(url, list(made), all=made))
        self._patience = patience
        self._changed = threading.Condition()
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for server in self._servers:
            for connection in server.all:
                connection.close()

    def served(self) -> Served:
        """Return what all of them serve; ToolError where one does not answer, or serves another."""
        found = {server.url: _described(server.url, server.all[0]) for server in self._servers}
        if len(set(found.values())) > 1:
            each = ", ".join(f"{url} serves {what.model}" for url, what in found.items())
            raise ToolError(f"{each}: all servers of a job must serve the same model")
        return next(iter(found.values()))

    def ask(self, path: str, body: bytes) -> bytes:
        """Return the answer to a request, from whichever server gives one.

        Waits for servers that are busy or being restarted. Raises Refused where the request is
        wrong, and ToolError where it is no use to go on, or no server answered for too long.
        """
        while True:
            server, connection = self._take()
            try:
                reply = connection.ask("POST", path, body)
            except LOST as error:
                self._give_back(server, connection)
                self._let_rest(server, _reason(error), None)
                continue
            self._give_back(server, connection)
            if reply.status in NOT_NOW:
                self._let_rest(server, f"{reply.status}: {reply.said}", reply.retry_after)
                continue
            self._answered(server)
            if reply.status != 200:
                raise _refusal(server.url + path, reply)
            return reply.content

    def stop(self) -> None:
        """End what waits and what is under way: it raises Stopped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for server in self._servers:
            for connection in server.all:
                connection.cut()

    def _take(self) -> tuple[_Server, Connection]:
        """Return the server that has most free connections and does not rest, and one of them."""
        with self._changed:
            while True:
                if self._stopped:
                    raise Stopped
                now = time.monotonic()
                able = [each for each in self._servers if each.free and each.rests_until <= now]
                if able:
                    server = max(able, key=lambda each: len(each.free))
                    return server, server.free.pop()
                ends = [each.rests_until - now for each in self._servers if each.free]
                self._changed.wait(min(ends) if ends else None)

    def _give_back(self, server: _Server, connection: Connection) -> None:
        with self._changed:
            server.free.append(connection)
            self._changed.notify()

    def _answered(self, server: _Server) -> None:
        with self._changed:
            if server.named:
                loud(f"{server.url} answers again")
            server.rest, server.silent_since, server.named = FIRST_REST, None, False

    def _let_rest(self, server: _Server, why: str, seconds: float | None) -> None:
        """Ask a server nothing for so many seconds, or for more each time.

        Raises ToolError where none of them has answered for as long as ``patience``.
        """
        with self._changed:
            if self._stopped:
                raise Stopped
            now = time.monotonic()
            if server.silent_since is None:
                server.silent_since = now
            if server.rests_until <= now:  # and not for each of the requests that it has lost
                server.rests_until = now + (server.rest if seconds is None else seconds)
                server.rest = min(2 * server.rest, LONGEST_REST)
            if now - server.silent_since >= SOON and not server.named:
                server.named = True
                loud(f"{server.url} does not answer ({why}); it is asked again and again")
            since = [each.silent_since for each in self._servers]
            latest = max((each for each in since if each is not None), default=now)
            if None not in since and now - latest >= self._patience:
                raise ToolError(
                    f"no server has answered for {now - latest:.0f} seconds, the last one "
                    f"{server.url} ({why}); when it does, the same command goes on"
                )


def _described(url: str, connection: Connection) -> Served:
    address = f"{url}/v1/models"
    try:
        reply = connection.ask("GET", "/v1/models")
    except LOST as error:
        raise ToolError(
            f"no embedding server answers at {address} ({_reason(error)}); `nox -s up -- nano` "
            "starts one, at http://localhost:8080"
        ) from None
    if reply.status != 200:
        raise _refusal(address, reply)
    try:
        entry = json.loads(reply.content)["data"][0]
        return Served(str(entry["id"]), int(entry["dimensions"]))
    except (ValueError, KeyError, IndexError, TypeError):
        raise ToolError(
            f"{address} does not name a model with its dimensions: is it a server of ours, with "
            "our patches?"
        ) from None


def _refusal(address: str, reply: Reply) -> ToolError:
    if reply.status in (401, 403):
        return ToolError(
            f"{address} wants a key: set LLAMA_API_KEY to one that it knows, or name a file with "
            "--api-key-file"
        )
    if reply.status == 404:
        return ToolError(f"{address} answered 404: {reply.said}; is the address right?")
    kind = Refused if reply.status in WRONG else ToolError
    return kind(f"{address} answered {reply.status}: {reply.said}")


def _reason(error: Exception) -> str:
    """Say in a few words why no answer came."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
