"""Write the clients' versions into the table of docs/search/clients.md, from their locks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tools.facts.paths import ROOT

PAGE = ROOT / "docs" / "search" / "clients.md"
LOCK = ROOT / "locks" / "recipes.txt"
NPM = ROOT / "tests" / "recipes" / "js"

#: A package in the table: its name, its version, and which registry it is from.
_PACKAGE = re.compile(r"`([^`]+)` (\d[\w.]*)( \(npm\))?(?=,| \|)")


def versions() -> dict[str, str]:
    """Return the version of each locked package; the names of npm's end with `` (npm)``."""
    lock = LOCK.read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", lock, re.MULTILINE))
    npm = json.loads((NPM / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    inside = "node_modules/"
    return locked | {
        f"{path.removeprefix(inside)} (npm)": each["version"]
        for path, each in npm.items()
        if path.startswith(inside)
    }


def said(page: str) -> dict[str, str]:
    """Return the packages of the page's table with their versions, named as in ``versions``."""
    return {name + (npm or ""): version for name, version, npm in _PACKAGE.findall(page)}


def with_versions(page: str, locked: Mapping[str, str]) -> str:
    """Return the page with the versions that are locked."""

    def current(found: re.Match[str]) -> str:
        name, version, npm = found.groups(default="")
        return f"`{name}` {locked.get(name + npm, version)}{npm}"

    return _PACKAGE.sub(current, page)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_versions(text, versions()), encoding="utf-8")
