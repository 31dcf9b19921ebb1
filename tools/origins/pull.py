"""A base image from a registry, pinned by digest."""

from __future__ import annotations

import re

from tools.common.console import say
from tools.common.errors import ToolError
from tools.common.web import Unreachable
from tools.engine.docker import run_docker
from tools.facts.images import ImageOrigin

#: Seconds; the engine itself gives up on a silent registry after about fifteen.
_PULL_TIMEOUT = 1800

#: What the engine says when the registry was not reached, was too busy, or broke off.
_NO_ANSWER = re.compile(
    r"no such host|connection refused|connection reset|i/o timeout|deadline exceeded"
    r"|Client\.Timeout|request canceled|TLS handshake|tls: |x509: |network is unreachable"
    r"|no route to host|server misbehaving|name resolution|proxyconnect|unexpected EOF|: EOF"
    r"|toomanyrequests|(?:408|429|50[0234]) [A-Z]",
    re.IGNORECASE,
)
#: What it says before the words of something that did answer, which may be any.
_ANSWERED = re.compile(r"^(?:unknown|denied|unauthorized): |malformed HTTP ")
#: Of a whole page that answers instead of a registry, this many characters are shown.
_SHOWN = 300


def pull_base(origin: ImageOrigin, platform: str) -> str:
    """Return the pinned reference, after pulling it unless the engine has it for ``platform``.

    The classic image store has an image for one platform at a time; a build takes the other one
    from the registry itself. Raises Unreachable when the registry does not answer, and ToolError
    when it has no such image or does not give it, or when no engine answers.
    """
    inspect = ["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", origin.pinned]
    if run_docker(inspect, timeout=60).stdout.strip() == platform:
        return origin.pinned
    say(f"pulling {origin.pinned} for {platform}")
    pull = ["pull", "--quiet", "--platform", platform, origin.pinned]
    pulled = run_docker(pull, timeout=_PULL_TIMEOUT)
    if pulled.returncode != 0:
        raise pull_failure(pulled.stderr, origin)
    return origin.pinned


def pull_failure(stderr: str, origin: ImageOrigin) -> ToolError:
    """Turn what `docker pull` said into the exception that it means."""
    said = " ".join(stderr.split()).removeprefix("Error response from daemon: ")
    said = said or "no reason given"
    if "docker daemon" in said:
        return ToolError(f"no Docker Engine answers; run `nox -s engine` ({said})")
    if _NO_ANSWER.search(said) and not _ANSWERED.search(said):
        return Unreachable(said)
    shown = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
    return ToolError(f"cannot pull {origin.pinned}: {shown}")
