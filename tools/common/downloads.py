"""Bring one pinned file: resumed, hashed while it streams, landed whole or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tools.common.cache import locked
from tools.common.console import loud, progress
from tools.common.errors import ToolError
from tools.common.web import (
    Interrupted,
    Unreachable,
    check_status,
    client,
    host_of,
    retried,
    shown,
    translated,
)

_CHUNK = 1 << 16  # bytes


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    url: str,
    destination: Path,
    *,
    sha256: str,
    size: int,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
) -> Path:
    """Bring the file of ``size`` bytes and hash ``sha256`` at ``url`` to ``destination``.

    Nothing is asked of the network when it is there already. Until it is whole and its hash is
    right it is ``DESTINATION.<start of the hash>.part``, which is all that Ctrl-C leaves and
    which the next call goes on from. Two processes do not download the same file at once.

    Raises Unreachable when nobody answers, Refused for an HTTP 4xx, and ToolError for a file of
    the wrong size or hash (then the part is deleted).
    """
    try:
        with locked(destination):
            if _is_there(destination, sha256):
                return destination
            destination.parent.mkdir(parents=True, exist_ok=True)
            part = destination.with_name(f"{destination.name}.{sha256[:8]}.part")
            with client(ca_file) as http, progress(size, destination.name) as advance:
                found = _Transfer(http, url, part, size, headers or {}, advance).run()
            if found != sha256:
                part.unlink()
                raise ToolError(
                    f"{destination.name} from {shown(url)} is not the pinned file and was deleted: "
                    f"sha256 expected {sha256}, found {found}. Do not use that server's copy; if "
                    "the pin itself is wrong, correct it in the catalogue"
                )
            return part.replace(destination)
    except OSError as error:
        # A full disk, or a folder that is somebody else's.
        raise ToolError(
            f"cannot write {error.filename or destination}: {error.strerror or error}"
        ) from None


def _is_there(destination: Path, sha256: str) -> bool:
    """Say whether the file is there and right; a wrong one is replaced once the right one is."""
    if not destination.exists():
        return False
    found = file_sha256(destination)
    if found != sha256:
        loud(
            f"{destination} is not the pinned file (sha256 expected {sha256}, found {found}); "
            "downloading it again"
        )
    return found == sha256


@dataclass
class _Transfer:
    """One download into a part file, over as many connections as it takes."""

    http: httpx.Client
    url: str
    part: Path
    size: int
    headers: Mapping[str, str]
    advance: Callable[[int], object]
    hash: Any = field(default_factory=hashlib.sha256)
    position: int = 0

    def run(self) -> str:
        """Fill the part file and return the sha256 of its content."""
        self._read_part()
        begun = self.position

        def attempt() -> None:
            try:
                with translated(self.url):
                    self._stream()
            except Unreachable as error:
                if self.position == begun:
                    raise
                raise Interrupted(str(error)) from None

        if self.position < self.size:
            retried(attempt, lambda: self.position)
        return str(self.hash.hexdigest())

    def _read_part(self) -> None:
        """Take up what an earlier call left."""
        if not self.part.exists():
            return
        if self.part.stat().st_size > self.size:
            self.part.unlink()
            return
        with self.part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self.hash.update(chunk)
        self.position += len(chunk)
        self.advance(len(chunk))

    def _restart(self) -> None:
        self.part.unlink(missing_ok=True)
        self.advance(-self.position)
        self.hash = hashlib.sha256()
        self.position = 0

    def _stream(self) -> None:
        """Append what one connection brings."""
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if self.position:
            headers["Range"] = f"bytes={self.position}-"
        with self.http.stream("GET", self.url, headers=headers) as response:
            if response.status_code == 416:
                # The server's file ends before our part does; start again, and see what it has.
                self._restart()
                raise Interrupted(f"{host_of(self.url)} cannot resume the transfer")
            check_status(response)
            start = _range_start(response)
            if start != self.position:
                self._restart()
            if start != self.position:
                raise Interrupted(f"{host_of(self.url)} sent another range than asked for")
            self._check_size(response)
            with self.part.open("ab") as file:
                for chunk in response.iter_raw(_CHUNK):
                    if self.position + len(chunk) > self.size:
                        self._refuse_size("more")
                    file.write(chunk)
                    self._count(chunk)
        if self.position < self.size:
            raise Interrupted(f"{host_of(self.url)} broke off the transfer")

    def _check_size(self, response: httpx.Response) -> None:
        """Refuse a file of another size before it is downloaded, where the server says so."""
        length = response.headers.get("Content-Length")
        if length is not None and self.position + int(length) != self.size:
            self._refuse_size(str(self.position + int(length)))

    def _refuse_size(self, found: str) -> None:
        self._restart()
        raise ToolError(
            f"{shown(self.url)} is not the pinned file: expected {self.size} bytes, found {found}"
        )


def _range_start(response: httpx.Response) -> int:
    """Return where in the file the body begins: 0 when the server ignored the range."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match and response.status_code == 206 else 0
