"""locks/ holds what pyproject.toml asks for, by version and hash, for every Python and platform."""

from __future__ import annotations

import re
from pathlib import Path

import nox
import nox.command
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import noxfile
from tools.common.errors import ToolError

PROJECT = nox.project.load_toml(noxfile.PROJECT)
#: What is installed on top of the environment that all verbs share.
ON_TOP = ("nox", "native", "bench", "chart", "docs", "embed", "lock")
GROUPS = (*ON_TOP, "recipes")
#: The oldest Python and the newest that CI tries.
PYTHONS = ("3.11", "3.14")
#: Where the verbs are run: markers as pip evaluates them there.
PLACES = [
    pytest.param(
        {
            "python_version": python,
            "python_full_version": f"{python}.9",
            "sys_platform": system,
            "platform_machine": machine,
        },
        id=f"{python} {system} {machine}",
    )
    for python in PYTHONS
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]


def asked(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for in a lock file."""
    own = PROJECT["project"]["dependencies"] if lock == noxfile.SHARED else []
    group = "dev" if lock == noxfile.SHARED else lock
    return [Requirement(each) for each in [*own, *nox.project.dependency_groups(PROJECT, group)]]


def locked(lock: str) -> list[tuple[Requirement, int]]:
    """Each line of a lock file, and how many hashes it has."""
    text = noxfile.lock_of(lock).read_text()
    entries = re.findall(
        r"^(\S.*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.MULTILINE
    )
    return [(Requirement(entry), hashes.count("--hash")) for entry, hashes in entries]


def same(one: Requirement, other: Requirement) -> bool:
    return canonicalize_name(one.name) == canonicalize_name(other.name)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("lock", [noxfile.SHARED, *GROUPS])
def test_a_lock_has_one_version_that_is_allowed_of_all_that_is_asked_for(
    lock: str, place: dict[str, str]
) -> None:
    here = [each for each, _ in locked(lock) if not each.marker or each.marker.evaluate(place)]
    for wanted in asked(lock):
        (found,) = (each for each in here if same(each, wanted))
        (pin,) = found.specifier
        assert pin.operator == "=="
        assert pin.version in wanted.specifier


@pytest.mark.parametrize("path", sorted(noxfile.LOCKS.iterdir()), ids=lambda path: path.name)
def test_every_line_has_hashes_and_no_index_is_named(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"^[a-z0-9].*==", text, re.MULTILINE)
    assert named
    assert len(locked(path.stem)) == len(named)
    assert "://" not in text
    assert not re.search("^--", text, re.MULTILINE)


def test_there_is_a_lock_for_each_group() -> None:
    assert {path.stem for path in noxfile.LOCKS.iterdir()} == {noxfile.SHARED, *GROUPS}
    assert {*GROUPS, "dev"} == set(PROJECT["dependency-groups"])


def test_what_goes_on_top_of_the_environment_agrees_with_it() -> None:
    shared = {(each.name, str(each.specifier)) for each, _ in locked(noxfile.SHARED)}
    names = {name for name, _ in shared}
    for group in ON_TOP:
        on_top = {(each.name, str(each.specifier)) for each, _ in locked(group)}
        assert {each for each in on_top if each[0] in names} <= shared


class Session:
    """A nox session that notes what it would install, or cannot."""

    def __init__(self, *, fails: bool = False) -> None:
        self.ran: list[str] = []
        self.fails = fails

    def run(self, *arguments: str) -> None:
        self.ran += arguments
        if self.fails:
            raise nox.command.CommandFailed

    def error(self, message: str) -> None:
        raise ToolError(message)


def test_an_index_without_the_locked_files_is_said_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(noxfile.UNLOCKED, raising=False)
    with pytest.raises(ToolError, match=f"docs.txt lists.*{noxfile.UNLOCKED}=1"):
        noxfile.pip_install(Session(fails=True), "python", "docs")  # type: ignore[arg-type]


@pytest.mark.parametrize("packages", [noxfile.SHARED, *GROUPS])
def test_the_locked_versions_are_installed_unless_it_is_said_otherwise(
    packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(noxfile.UNLOCKED, raising=False)
    session = Session()
    noxfile.pip_install(session, "python", packages)  # type: ignore[arg-type]
    assert session.ran[-3:] == ["--require-hashes", "--requirement", str(noxfile.lock_of(packages))]
    # helm's package needs what no lock has: pip would refuse the lock, or download all of it.
    assert ("--no-deps" in session.ran) == (packages == "chart")

    before = noxfile.stamp()
    monkeypatch.setenv(noxfile.UNLOCKED, "1")
    session = Session()
    noxfile.pip_install(session, "python", packages)  # type: ignore[arg-type]
    assert "--require-hashes" not in session.ran
    assert {str(each) for each in asked(packages)} == {
        str(Requirement(each)) for each in session.ran[session.ran.index("-q") + 1 :]
    }
    assert noxfile.stamp() != before
