"""What a tag in a registry names now, asked over HTTP as docker pull does.

The protocol is the OCI distribution specification's ("Pulling manifests"); the tokens are
described in https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import re

import httpx

from tools.common.errors import ToolError
from tools.common.web import Refused, client, get
from tools.registry.manifests import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, digest_of

#: What docker means by a reference without a host (github.com/distribution/reference).
_DOCKER_HUB = "registry-1.docker.io"
#: An index of platforms where there is one, else the manifest of the only platform.
_FORMS = (INDEX, DOCKER_INDEX, MANIFEST, DOCKER_MANIFEST)


def newest_digest(reference: str) -> str:
    """Return the digest that a reference such as ``debian:trixie-slim`` names now.

    Asks without an account, with a token where the registry wants one. Raises Unreachable,
    Refused, or ToolError for a token that cannot be had and for what is no manifest.
    """
    registry, repository, tag = _parts(reference)
    # docker, too, takes a registry on this machine for one without TLS.
    scheme = "http" if registry.startswith("127.0.0.1") else "https"
    url = f"{scheme}://{registry}/v2/{repository}/manifests/{tag}"
    headers = {"Accept": ", ".join(_FORMS)}
    with client() as http:
        try:
            manifest = get(http, url, headers)
        except Refused as refused:
            if refused.status != 401:
                raise
            token = _anonymous_token(http, refused.challenge, registry)
            manifest = get(http, url, {**headers, "Authorization": f"Bearer {token}"})
    form = manifest.headers.get("Content-Type", "").partition(";")[0]
    if form not in _FORMS:
        raise ToolError(
            f"{registry} is no registry: it answers with {form or 'something unnamed'} where the "
            f"manifest of {repository}:{tag} should be"
        )
    return digest_of(manifest.content)


def _parts(reference: str) -> tuple[str, str, str]:
    """Split a reference into the registry's host, the repository and the tag, as docker does."""
    host, slash, rest = reference.partition("/")
    if not (slash and ("." in host or ":" in host)):
        host, rest = _DOCKER_HUB, reference if slash else f"library/{reference}"
    repository, _, tag = rest.partition(":")
    return host, repository, tag or "latest"


def _anonymous_token(http: httpx.Client, challenge: str, registry: str) -> str:
    """Return the token that anybody gets, from where the registry's challenge says."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    try:
        realm = httpx.URL(fields.pop("realm"))
        answer = get(http, str(realm.copy_merge_params(fields)), {}).json()
        return str(answer.get("token") or answer["access_token"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise ToolError(f"{registry} wants an account, or gives no token to read with") from None
