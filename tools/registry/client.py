"""A repository in a registry, over HTTP: what docker's own commands cannot push or look up.

The protocol is the OCI distribution specification's. Images themselves go through `docker push`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tools.common.errors import ToolError
from tools.common.web import (
    check_status,
    client,
    retried,
    shown,
    translated,
)
from tools.registry.auth import RegistryAuth, stored_credentials
from tools.registry.manifests import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, Blob, digest_of

_FORMS = (INDEX, DOCKER_INDEX, MANIFEST, DOCKER_MANIFEST)
_ACCEPT = ", ".join(_FORMS)
#: What docker means by a reference without a host.
_DOCKER_HUB = "registry-1.docker.io"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(
    rf"((?:[\w-]+\.)+[\w-]+(?::\d+)?|localhost(?::\d+)?)/({_PART}(?:/{_PART})*)"
)


@dataclass(frozen=True)
class Repository:
    """Where images are published: a registry's host, with its port, and a name there."""

    host: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"

    @property
    def local(self) -> bool:
        """Whether it is on this machine, where docker, too, does without TLS."""
        return self.host.partition(":")[0] == "localhost" or self.host.startswith("127.")


def parse_repository(text: str) -> Repository:
    """Return the repository that ``HOST/NAME`` means; raises ToolError for anything else.

    Registries know lower case only; the owner of a repository on GitHub may have capitals.
    """
    found = _REPOSITORY.fullmatch(text.lower())
    if found is None:
        raise ToolError(
            f"{text!r} is no repository; it needs a host and a name without a tag, such as "
            "ghcr.io/owner/jina-embeddings-v5"
        )
    return Repository(*found.groups())


class Registry:
    """What can be done in one repository. Every method may raise Unreachable or ToolError."""

    def __init__(self, http: httpx.Client, repository: Repository) -> None:
        self.http = http
        self.repository = repository
        scheme = "http" if repository.local else "https"
        self.url = f"{scheme}://{repository.host}/v2/{repository.name}"

    def manifest(self, reference: str) -> Blob | None:
        """Return the manifest or index with that tag or digest, or None."""
        headers = {"Accept": _ACCEPT}
        answer = self._send("GET", f"{self.url}/manifests/{reference}", headers=headers)
        if answer.status_code == 404:
            return None
        found = Blob(answer.headers.get("Content-Type", ""), answer.content)
        if reference.startswith("sha256:") and found.digest != reference:
            raise ToolError(f"{self.repository.host} gives other bytes than {reference}")
        return found

    def put_manifest(self, manifest: Blob) -> None:
        """Store a manifest or index under its digest, without a name."""
        url = f"{self.url}/manifests/{manifest.digest}"
        headers = {"Content-Type": manifest.media_type}
        self._send("PUT", url, headers=headers, content=manifest.content)

    def put_blob(self, content: bytes) -> None:
        """Store bytes under their digest, unless they are there."""
        digest = digest_of(content)
        if self._send("HEAD", f"{self.url}/blobs/{digest}").status_code == 200:
            return
        begun = self._send("POST", f"{self.url}/blobs/uploads/")
        place = httpx.URL(f"{self.url}/").join(begun.headers["Location"])
        headers = {"Content-Type": "application/octet-stream"}
        target = str(place.copy_merge_params({"digest": digest}))
        self._send("PUT", target, headers=headers, content=content)

    def _send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """Return the answer, which may be 404 for what only looks; a busy registry is asked again.

        Raises Unreachable when nobody answers, ToolError when the answer is no.
        """

        def attempt() -> httpx.Response:
            with translated(url):
                answer = self.http.request(method, url, headers=headers, content=content)
            if answer.status_code == 404 and method in ("GET", "HEAD"):
                return answer
            self._refuse(method, answer)
            check_status(answer)
            return answer

        return retried(attempt)

    def _refuse(self, method: str, answer: httpx.Response) -> None:
        host = self.repository.host
        if answer.status_code in (401, 403):
            raise ToolError(
                f"{host} does not let you {'read' if method in ('GET', 'HEAD') else 'write'} "
                f"{self.repository.name} (HTTP {answer.status_code}); log in with "
                f"`docker login {host}`, as somebody who may"
            )
        if answer.status_code == 405:
            raise ToolError(f"{host} takes nothing: it is read-only ({_said(answer)})")
        if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise ToolError(
                f"{method} {shown(str(answer.url))} answered {answer.status_code}: {_said(answer)}"
            )


def _said(answer: httpx.Response) -> str:
    """Return the messages of a registry's error, as the specification has them."""
    try:
        return "; ".join(str(each["message"]) for each in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200] or "no reason given"


def parse_reference(reference: str) -> tuple[Repository, str]:
    """Split a reference such as ``debian:trixie-slim`` into its repository and tag, as docker does.

    From github.com/distribution/reference: without a host it is Docker Hub's.
    """
    host, slash, rest = reference.partition("/")
    if not (slash and ("." in host or ":" in host or host == "localhost")):
        host, rest = _DOCKER_HUB, reference if slash else f"library/{reference}"
    name, _, tag = rest.partition(":")
    return Repository(host, name), tag or "latest"


def newest_digest(reference: str) -> str:
    """Return the digest that a reference names now, asked without an account.

    It is an index of platforms where there is one, else the manifest of the only platform. Raises
    Unreachable, or ToolError for what is not there, not for everybody, or no manifest.
    """
    repository, tag = parse_reference(reference)
    with client(proxies=not repository.local) as http:
        http.auth = RegistryAuth(None)
        found = Registry(http, repository).manifest(tag)
    if found is None:
        raise ToolError(f"{repository.host} has no {repository.name}:{tag}")
    form = found.media_type.partition(";")[0]
    if form not in _FORMS:
        raise ToolError(
            f"{repository.host} is no registry: it answers with {form or 'something unnamed'} "
            f"where the manifest of {repository.name}:{tag} should be"
        )
    return found.digest


@contextmanager
def registry(repository: Repository) -> Iterator[Registry]:
    """Yield the registry's repository, as whoever `docker login` made us there."""
    with client(proxies=not repository.local) as http:
        http.auth = RegistryAuth(stored_credentials(repository.host))
        yield Registry(http, repository)
