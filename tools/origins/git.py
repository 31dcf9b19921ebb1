"""llama.cpp's source at one commit of a git repository, as a plain tree without .git."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import httpx

from tools.common.cache import cache_dir, locked
from tools.common.console import say
from tools.common.errors import ToolError
from tools.common.processes import Result, run_bounded
from tools.common.web import Unreachable
from tools.facts.images import GitOrigin
from tools.facts.paths import ROOT
from tools.origins.trees import unpack

#: Seconds. git has no limit of its own on connecting, so a short question is asked first.
_ANSWER_TIMEOUT = 15
_FETCH_TIMEOUT = 1800

#: What git says (in English) when the server was not reached, or the transfer broke off.
_NO_ANSWER = re.compile(
    r"Could not resolve|Failed to connect|Couldn't connect|Connection (?:refused|reset|timed out)"
    r"|timed out|Timeout was reached|Operation too slow|Empty reply from server"
    r"|SSL|TLS|certificate|from proxy|CONNECT tunnel|early EOF|unexpected disconnect"
    r"|hung up unexpectedly|RPC failed|returned error: (?:408|429|5\d\d)",
    re.IGNORECASE,
)
#: What git says when something did answer, whatever else it says then: a refusal, or no git.
_ANSWERED = re.compile(
    r"returned error: 4(?!08|29)\d\d|Received HTTP/0\.9|bad line length|is this a git repository"
)
#: Variables by which a surrounding git command (a hook) would point ours at another repository.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")


def fetch_git(origin: GitOrigin) -> Path:
    """Return the folder with the source, fetched unless the cache has it.

    Raises Unreachable when the server does not answer or breaks off, and ToolError when it has
    no such repository or commit.
    """
    tree = cache_dir() / "sources" / origin.commit
    with locked(tree):
        if not tree.exists():
            tree.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=tree.parent, prefix=".fetching-") as name:
                _fetch(origin, Path(name), tree)
    return tree


def newest_commit(origin: GitOrigin) -> str:
    """Return the commit that the origin's branch is at now.

    Raises Unreachable when the server does not answer, and ToolError when it has no such
    repository or branch.
    """
    branch = f"refs/heads/{origin.branch}"
    listed = _git(origin, ROOT, _ANSWER_TIMEOUT, "ls-remote", origin.repository, branch).stdout
    if not listed:
        raise ToolError(f"{origin.repository} has no branch {origin.branch}")
    return listed.split()[0]


def _fetch(origin: GitOrigin, folder: Path, tree: Path) -> None:
    _git(origin, folder, _ANSWER_TIMEOUT, "ls-remote", origin.repository, "HEAD")
    say(f"fetching {origin.repository} at {origin.commit[:12]} (about 40 MB)")
    _git(origin, folder, 60, "init", "--quiet", ".")
    _git(
        origin,
        folder,
        _FETCH_TIMEOUT,
        *("fetch", "--quiet", "--no-tags", "--depth=1", origin.repository, origin.commit),
    )
    fetched = _git(origin, folder, 60, "rev-parse", "FETCH_HEAD").stdout.strip()
    if fetched != origin.commit:
        raise ToolError(f"{origin.repository} gave commit {fetched} for the pinned {origin.commit}")
    _git(origin, folder, 300, "archive", "--format=tar", "--output=source.tar", "FETCH_HEAD")
    with (folder / "source.tar").open("rb") as archive:
        unpack(archive, "", tree)


def _git(origin: GitOrigin, folder: Path, timeout: float, *arguments: str) -> Result:
    """Run git, never prompting; raise Unreachable or ToolError when it fails."""
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    # A transfer slower than 1 kB/s for 30 seconds has stalled.
    limits = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30")
    try:
        result = run_bounded(
            ["git", *limits, *arguments], timeout=timeout, environment=environment, folder=folder
        )
    except FileNotFoundError:
        raise ToolError(
            f"there is no git command, which origin {origin.name} needs; install git"
        ) from None
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"{_host(origin.repository)} did not answer within {timeout:.0f} s"
        ) from None
    if result.code != 0:
        raise git_failure(result.stderr, origin)
    return result


def git_failure(stderr: str, origin: GitOrigin) -> ToolError:
    """Turn what git said into the exception that it means."""
    # What the server says itself may hold any word.
    lines = [line for line in map(str.strip, stderr.splitlines()) if line]
    lines = [line for line in lines if not line.startswith("remote: ")]
    host = _host(origin.repository)
    answered = [line for line in lines if _ANSWERED.search(line)]
    for line in [] if answered else lines:
        # fatal: unable to access 'ADDRESS': REASON. The address may hold any word, too.
        reason = re.sub(r"^fatal: |unable to access '\S+': |'\S+:\S+'|\S+://\S+", "", line)
        if _NO_ANSWER.search(reason):
            return Unreachable(reason if host in reason else f"{host}: {reason}")
    said = (answered or lines or ["git failed without a word"])[-1]
    return ToolError(
        f"{origin.repository} does not give commit {origin.commit} (branch {origin.branch}): {said}"
    )


def _host(repository: str) -> str:
    return httpx.URL(repository).host or repository
