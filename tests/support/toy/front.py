"""What the toy asks of every request, and says with every answer: origins, keys, sizes and ids."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from tests.support.refusals import RefusalError

#: The most bytes of a body, the image's own default.
MAX_BODY = 8 * 1024**2

#: What everybody may read, without a key and from any page.
OPEN = {"/health", "/v1/health", "/ready"}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class ToyFront:
    """Lets requests in; ``key`` is the one that it asks for, if any."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def check_origin(self, path: str, headers: Mapping[str, str]) -> None:
        """Refuse what a page of another origin sends."""
        if "Origin" in headers and path not in OPEN:
            raise RefusalError(403, "permission_error", "this origin is not allowed")

    def check_key(self, path: str, headers: Mapping[str, str]) -> None:
        """Refuse who has not the key, where there is one."""
        if self.key is None or not self.needs_key(path):
            return
        if not any(map(self.fits, self.keys(headers))):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise RefusalError(401, "authentication_error", "Invalid API Key", challenge)

    def needs_key(self, path: str) -> bool:
        """Whether this path is closed to who has no key."""
        return path not in OPEN

    def keys(self, headers: Mapping[str, str]) -> list[str]:
        """Return the keys that a client shows."""
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        shown = [bearer if self.is_bearer(scheme) else "", headers.get("X-Api-Key", "")]
        return [key for key in shown if key]

    def is_bearer(self, scheme: str) -> bool:
        """Whether a scheme is that of our keys."""
        return scheme.lower() == "bearer"

    def fits(self, key: str) -> bool:
        """Whether a key is the right one."""
        return key == self.key

    def check_size(self, headers: Mapping[str, str]) -> None:
        """Refuse a body that is announced as too large."""
        if int(headers.get("Content-Length", 0)) > MAX_BODY:
            raise RefusalError(413, "invalid_request_error", "the body is too large")

    def headers(self, path: str, asked: Mapping[str, str]) -> dict[str, str]:
        """Return what goes with every answer."""
        headers = {
            "X-Request-Id": self.request_id(asked.get("X-Request-Id", "")),
            "Access-Control-Allow-Origin": self.readable_for(path, asked),
        }
        return {name: value for name, value in headers.items() if value is not None}

    def request_id(self, given: str) -> str | None:
        """Return the client's own id where it belongs into a log, and a new one else."""
        return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)

    def readable_for(self, path: str, asked: Mapping[str, str]) -> str | None:
        """Return the origins whose pages may read the answer, if any."""
        return "*" if path in OPEN else None

    def encoded(self, text: str) -> bytes:
        """Return a body as it goes out."""
        return text.encode()
