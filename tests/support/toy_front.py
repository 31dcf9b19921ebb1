"""What the toy server does before it works on a request: routes, origins, keys and sizes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.contract.checks.errors import ROUTES_OF_TEI
from tests.contract.checks.routes import ALIASES, SERVED
from tests.support.refusals import RefusalError

#: The most bytes of a body, the image's own default.
MAX_BODY = 8 * 1024**2

_OPEN = {"/health", "/v1/health", "/ready"}
_MODEL = re.compile(r"(?:/v1)?/models/[^/]+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def refusal_of_model(message: str) -> RefusalError:
    """Return the refusal for a model that is not served."""
    return RefusalError(404, "model_not_found", message)


@dataclass(frozen=True)
class Front:
    """The toy's front, right or with a fault; ``key`` is the one that it asks for, if any."""

    fault: str | None
    key: str | None

    def listed(self, path: str) -> str:
        """Return the address that a client means, as it is listed."""
        if self.fault != "slashes count":
            path = re.sub(r"^https?://[^/]*", "", path)
            path = re.sub(r"/+", "/", path).removesuffix("/") or "/"
        if self.fault == "one base":
            return path
        models = re.fullmatch(r"/(?:query|document)((?:/v1)?/models/[^/]+)", path)
        return models[1] if models else ALIASES.get(path, path)

    def error(self, path: str, refusal: RefusalError) -> tuple[int, dict[str, Any]]:
        """Return the status and the body of an error in the form of the API whose route it is."""
        if ROUTES_OF_TEI.search(path) and self.fault != "TEI's errors in OpenAI's form":
            status = 422 if refusal.status == 400 else refusal.status
            return status, {"error": str(refusal), "error_type": "Validation"}
        error = dict(refusal.error)
        if self.fault == "codes are numbers":
            error["code"] = refusal.status
        if self.fault == "fields unnamed":
            error["param"] = None
        detail = {} if self.fault == "errors without detail" else {"detail": str(refusal)}
        return refusal.status, {"error": error, **detail}

    def admit(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raise RefusalError for what must not be worked on; the body is not read yet."""
        path = self.listed(path)
        if "Origin" in headers and path not in _OPEN and self.fault != "every origin is let in":
            raise RefusalError(403, "permission_error", "this origin is not allowed")
        self._route(method, path)
        if not self._knows(path, headers):
            challenge = {} if self.fault == "no challenge" else {"WWW-Authenticate": "Bearer"}
            raise RefusalError(401, "authentication_error", "Invalid API Key", challenge)
        length = int(headers.get("Content-Length", 0))
        if length > MAX_BODY and self.fault != "bodies of any size":
            raise RefusalError(413, "invalid_request_error", "the body is too large")

    def _route(self, method: str, path: str) -> None:
        allowed = "GET" if _MODEL.fullmatch(path) else SERVED.get(path)
        if allowed is None and self.fault != "generates text":
            raise RefusalError(404, "not_found_error", f"there is no {path[:200]}")
        if allowed not in (None, method) and self.fault != "methods unchecked":
            why = f"{path} takes {allowed}"
            raise RefusalError(405, "invalid_request_error", why, {"Allow": str(allowed)})

    def _knows(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the client may ask for this."""
        open_to_all = set() if self.fault == "health needs a key" else _OPEN
        if self.fault == "metrics without a key":
            open_to_all = {*_OPEN, "/metrics"}
        if self.key is None or path in open_to_all:
            return True
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        known = scheme if self.fault == "one spelling of Bearer" else scheme.lower().capitalize()
        keys = [given if known == "Bearer" else None, headers.get("X-Api-Key")]
        if self.fault == "a part of a key is enough":
            return any(key and self.key.startswith(key) for key in keys)
        return self.key in keys

    def headers(self, path: str, asked: Mapping[str, str]) -> dict[str, str]:
        """Return what goes with every answer."""
        found = {}
        given = asked.get("X-Request-Id", "")
        if self.fault != "request ids dropped":
            good = _REQUEST_ID.fullmatch(given) or (given and self.fault == "any request id taken")
            found["X-Request-Id"] = given if good else secrets.token_hex(8)
        if path in _OPEN and self.fault != "health hidden from browsers":
            found["Access-Control-Allow-Origin"] = "*"
        elif self.fault in ("every origin is let in", "browsers are told of any answer"):
            found["Access-Control-Allow-Origin"] = asked.get("Origin", "*")
        return found
