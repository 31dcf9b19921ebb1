"""How the toy servers of the suite refuse a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RefusalError(Exception):
    """A request that the server refuses, and why; ``headers`` go with the answer."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {
            "message": message,
            "type": kind,
            "param": param,
            "code": kind,
        }
        self.body = {"error": self.error, "detail": message}
        self.headers = dict(headers or {})


def bad_request(message: str, param: str | None = None) -> RefusalError:
    return RefusalError(400, "invalid_request_error", message, param=param)
