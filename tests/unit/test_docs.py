"""What README, docs and messages tell a person to run exists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_workflows import known_to
from tests.unit.test_workflows import verbs as sessions
from tools.facts.paths import ROOT

DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = ROOT / "docs" / "develop" / "verbs.md"
#: Everything else that may name a verb: messages, comments, workflows, the CI script.
SPEAKING = [
    path
    for pattern in ("tools/**/*.py", "images/**/*", "compose/**/*", ".github/**/*.yml", ".ci/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
]


def verbs() -> frozenset[str]:
    """The names of noxfile.py's sessions."""
    return frozenset(sessions())


def code(text: str) -> str:
    """The code of a Markdown text, blocks and spans, a line each."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", prose)])


def test_documented_commands_name_verbs_that_exist() -> None:
    named = {
        (path.name, verb)
        for path in DOCS
        for words in re.findall(r"nox -s ((?:[a-z][a-z-]*[ \t]*)+)", code(path.read_text()))
        for verb in words.split()
    }
    assert len(named) > 50
    assert {each for each in named if each[1] not in verbs()} == set()


def test_messages_name_verbs_that_exist() -> None:
    named = {
        (path.name, verb)
        for path in SPEAKING
        for verb in re.findall(r"nox -s ([a-z][a-z-]*[a-z])", path.read_text())
    }
    assert len(named) > 10
    assert {each for each in named if each[1] not in verbs()} == set()


def test_the_docs_list_every_verb_once() -> None:
    table = re.findall(r"^\| `([a-z-]+)` +\|", VERBS.read_text(), re.MULTILINE)
    assert sorted(each for each in table if each in verbs()) == sorted(verbs())


def examples() -> Iterator[tuple[str, str]]:
    """Yield each verb with what the documentation writes after its `--`."""
    for path in DOCS:
        yield from re.findall(r"nox -s ([a-z-]+) -- ([^\n#&|]+)", code(path.read_text()))
    # A row of the table of verbs, and a line of nox's own list: `-- stop`, `--cuda-arch`.
    said = re.findall(r"^\| `([a-z-]+)` +\|(.*)", VERBS.read_text(), re.MULTILINE)
    said += [(name, str(session.func.__doc__)) for name, session in sessions().items()]
    for verb, text in said:
        if verb in verbs():
            yield from ((verb, span) for span in re.findall("`(-[^`]+)`", text))


def documented_options(verb: str) -> set[tuple[str, str]]:
    """The options of a verb that are documented, each with the first word of its example."""
    found = set()
    for name, example in examples():
        words = example.removeprefix("-- ").split()
        if name == verb:
            named = [re.fullmatch(r"(--?[a-z][\w-]*)(=.*)?", word) for word in words]
            found |= {(words[0], option.group(1)) for option in named if option}
    return found


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_documented_options_are_known_to_their_verb(verb: str) -> None:
    for first, option in sorted(documented_options(verb)):
        known = known_to(verb, first)
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), f"{first} {option}"


def test_options_are_found_in_every_kind_of_example() -> None:
    assert ("cpu", "--dry-run") in documented_options("publish"), "a block"
    assert ("-m", "-m") in documented_options("test"), "a span"
    assert ("--no-install", "--no-install") in documented_options("engine"), "the table"


def anchors(path: Path) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_compose_files_lead_to_files(path: Path) -> None:
    text = path.read_text()
    missing = []
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{file}#{anchor}")
    composing = [line for line in code(text).splitlines() if "docker compose " in line]
    files = re.findall(r" -f (\S+)", "\n".join(composing))
    missing += [file for file in files if not (ROOT / file).exists()]
    assert missing == []


def test_the_docs_list_every_patch_and_every_folder() -> None:
    patches = (ROOT / "docs" / "develop" / "patches.md").read_text()
    listed = re.findall(r"^\| `(\d{4}-[\w-]+)` +\|", patches, re.MULTILINE)
    assert listed == sorted(path.stem for path in (ROOT / "images" / "patches").glob("*.patch"))

    layout = (ROOT / "docs" / "develop" / "layout.md").read_text()
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    folders = {name.partition("/")[0] for name in tracked if "/" in name and name[0] != "."}
    assert folders | {"reports"} == set(re.findall(r"^(\w+)/ ", layout, re.MULTILINE))
    rooms = {path.parent.name for path in (ROOT / "tools").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)` +\|", layout, re.MULTILINE))
