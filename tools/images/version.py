"""The version of an image: the checkout's commit and tag, and how versions compare."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tools.common.errors import ToolError
from tools.facts.paths import ROOT

#: Semantic versioning without build metadata, whose ``+`` no image tag may have.
_NUMBER = r"(?:0|[1-9]\d*)"
_IDENTIFIER = r"[0-9A-Za-z-]+"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
)
#: What the version of an image ends with where an input is not from its first origin.
FALLBACK_SUFFIX = "-dev"


@dataclass(frozen=True)
class Revision:
    """The state of this repository; empty strings outside a git checkout.

    ``time`` is in seconds since 1970: the commit's, unless SOURCE_DATE_EPOCH says another.
    ``source`` is where a person finds the repository on the web.
    """

    commit: str
    tag: str
    time: int = 0
    source: str = ""

    @property
    def version(self) -> str:
        """The tag without its v, or a development version naming the commit."""
        if self.tag:
            return self.tag.removeprefix("v")
        return f"0.0.0-dev.{self.commit[:12] or 'unknown'}"

    @property
    def dirty(self) -> bool:
        """Whether there are changes that no commit holds."""
        return self.commit.endswith("-dirty")

    @property
    def created(self) -> str:
        """The time as RFC 3339 writes it."""
        return datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_revision() -> Revision:
    """Return the commit that is checked out and the version tag on it, if there is one."""

    def git(*arguments: str) -> str:
        try:
            result = subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return ""
        return result.stdout.strip() if result.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    dirty = "-dirty" if git("status", "--porcelain") else ""
    tags = git("tag", "--points-at", "HEAD").splitlines() if not dirty else []
    github = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    return Revision(
        source="/".join(github) if all(github) else web_address(git("remote", "get-url", "origin")),
        commit=f"{commit}{dirty}" if commit else "",
        tag=newest_version_tag(tags),
        time=_source_date(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")),
    )


def web_address(remote: str) -> str:
    """Return where a git remote is on the web, without any password; empty where it is nowhere."""
    found = re.fullmatch(
        r"(?:(?:https?|ssh|git)://(?:[^@/]*@)?([\w.-]+)(?::\d+)?/|(?:[\w.-]+@)?([\w-]+\.[\w.-]+):)"
        r"([\w./-]+?)(?:\.git)?/?",
        remote,
    )
    return f"https://{found[1] or found[2]}/{found[3]}" if found else ""


def _source_date(text: str) -> int:
    if not re.fullmatch(r"\d*", text):
        raise ToolError(f"SOURCE_DATE_EPOCH must be seconds since 1970, found {text!r}")
    return int(text or 0)


def newest_version_tag(tags: Sequence[str]) -> str:
    """Return the newest of those tags that are a v and a version, or an empty string.

    Raises ToolError for a version that says what only fallback origins make true.
    """
    versions = [tag for tag in tags if tag[:1] == "v" and _VERSION.fullmatch(tag[1:])]
    for tag in versions:
        if tag.endswith(FALLBACK_SUFFIX):
            raise ToolError(
                f"the git tag {tag} is taken for images from fallback origins, whose versions end "
                f"with {FALLBACK_SUFFIX}; delete it (`git tag --delete {tag}`) and choose another"
            )
    return max(versions, key=lambda tag: order(tag[1:]), default="")


def order(version: str) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
    """Return what versions are compared by, as semver.org's item 11 has it.

    A release comes after its pre-releases. Of the parts of these, numbers are compared as numbers
    and come before words, and fewer parts before more.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ToolError(f"{version!r} is not a version of the form 1.2.3 or 1.2.3-rc.1")
    major, minor, patch, pre = found.groups()
    parts = tuple(
        (False, int(each), "") if each.isdecimal() else (True, 0, each)
        for each in (pre.split(".") if pre else [])
    )
    return int(major), int(minor), int(patch), pre is None, parts


def is_newer(version: str, other: str) -> bool:
    """Whether ``version`` comes after ``other``; raises ToolError where one is no version."""
    return order(version) > order(other)


def published_version(revision: Revision, *, fallback: bool) -> str:
    """Return the version of an image: marked -dev where an input is not from its first origin."""
    return f"{revision.version}{FALLBACK_SUFFIX}" if fallback else revision.version
