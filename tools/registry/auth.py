"""Who we are at a registry: what `docker login` stored, and the two ways to show it.

The file is docker's own config.json (docs.docker.com/reference/cli/docker/login), the tokens are
https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tools.common.errors import ToolError
from tools.common.files import expanded

#: Seconds; a helper may have to unlock a keyring.
_HELPER_TIMEOUT = 60

Credentials = tuple[str, str]


def stored_credentials(host: str) -> Credentials | None:
    """Return the user and password that docker has for a registry, or None.

    Raises ToolError when docker's configuration or its credential helper cannot be read.
    """
    file = expanded(os.environ.get("DOCKER_CONFIG") or "~/.docker") / "config.json"
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ToolError(f"cannot read {file}: {error}") from None
    helper = config.get("credHelpers", {}).get(host) or config.get("credsStore")
    if helper:
        return _ask_helper(helper, host)
    for key, entry in config.get("auths", {}).items():
        if re.sub(r"^https?://|/.*$", "", key.removesuffix("/")) == host and entry.get("auth"):
            return _decoded(entry["auth"], file, host)
    return None


def _decoded(auth: str, file: Path, host: str) -> Credentials:
    try:
        user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ToolError(f"{file}: the login for {host} is damaged; `docker login {host}`") from None
    return user, password


def _ask_helper(helper: str, host: str) -> Credentials | None:
    """Ask docker's credential helper (github.com/docker/docker-credential-helpers)."""
    command = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [command, "get"],
            input=host,
            capture_output=True,
            text=True,
            check=False,
            timeout=_HELPER_TIMEOUT,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        raise ToolError(f"docker's credential helper {command} does not answer") from None
    if answer.returncode != 0:
        return None
    found = json.loads(answer.stdout)
    return found["Username"], found["Secret"]


class RegistryAuth(httpx.Auth):
    """Answers a registry's challenge with a password, or with a token that it buys."""

    requires_response_body = True

    def __init__(self, credentials: Credentials | None) -> None:
        self.basic = ""
        if credentials:
            self.basic = f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"
        self.header = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request; where it is challenged, once more with what was asked for."""
        if self.header:
            request.headers["Authorization"] = self.header
        response = yield request
        if response.status_code != 401:
            return
        scheme, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
        if scheme.lower() == "bearer":
            fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            answer = yield self._token_request(fields)
            self.header = self._token(answer)
            # Without a token, too: else httpx would take its answer for the request's.
            if self.header:
                request.headers["Authorization"] = self.header
            yield request
        elif self.basic:
            self.header = self.basic
            request.headers["Authorization"] = self.header
            yield request

    def _token_request(self, fields: Mapping[str, str]) -> httpx.Request:
        wanted = {key: value for key, value in fields.items() if key in ("service", "scope")}
        headers = {"Authorization": self.basic} if self.basic else {}
        realm = httpx.URL(fields.get("realm", ""))
        return httpx.Request("GET", realm.copy_merge_params(wanted), headers=headers)

    @staticmethod
    def _token(answer: httpx.Response) -> str:
        """Return the header with the token; empty where none was given."""
        if answer.status_code != 200:
            return ""
        try:
            found = answer.json()
            token = found.get("token") or found.get("access_token")
        except (ValueError, AttributeError):
            return ""
        return f"Bearer {token}" if token else ""
