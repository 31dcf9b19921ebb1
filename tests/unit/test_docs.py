"""What README, docs and messages tell a person to run exists."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tools.catalog import ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Everything else that may name a verb: messages, comments, workflows, the CI script.
SPEAKING = [
    path
    for pattern in ("tools/**/*.py", "images/**/*", "compose/**/*", ".github/**/*.yml", ".ci/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
]


@cache
def verbs() -> frozenset[str]:
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "--list", "--nocolor"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Those that run by default are starred.
    return frozenset(re.findall(r"^[*-] (\S+) ->", listed.stdout, re.MULTILINE))


def code(text: str) -> str:
    """The code of a Markdown text, blocks and spans, a line each."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", prose)])


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_documented_commands_name_verbs_that_exist(path: Path) -> None:
    commands = re.findall(r"nox -s ((?:[a-z][a-z-]*[ \t]*)+)", code(path.read_text()))
    named = {verb for words in commands for verb in words.split()}
    assert named
    assert named <= verbs()


def test_messages_name_verbs_that_exist() -> None:
    named = {
        (path.name, verb)
        for path in SPEAKING
        for verb in re.findall(r"nox -s ([a-z][a-z-]*[a-z])", path.read_text())
    }
    assert len(named) > 10
    assert {each for each in named if each[1] not in verbs()} == set()


def test_the_readme_lists_every_verb_once() -> None:
    table = re.findall(r"^\| `([a-z-]+)` +\|", DOCS[0].read_text(), re.MULTILINE)
    assert sorted(each for each in table if each in verbs()) == sorted(verbs())


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_and_compose_files_lead_to_files(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    files = re.findall(r"docker compose .*?-f (\S+)", code(text))
    missing = [link for link in links if not (path.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert missing == []
