"""What is run on an image before it gets a name."""

from __future__ import annotations

import subprocess

import pytest

import tools.publish.suites
from tests.contract import test_contract
from tools.common.errors import ToolError
from tools.publish.suites import is_emulated, run_suites


class Ended:
    """A process that has ended with an exit code, and the command line that it was given."""

    commands: list[list[str]]
    code: int

    def __init__(self, command: list[str], **_: object) -> None:
        self.commands.append(command)

    def wait(self) -> int:
        return self.code


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> type[Ended]:
    Ended.commands, Ended.code = [], 0
    monkeypatch.setattr(subprocess, "Popen", Ended)
    return Ended


def test_only_an_emulated_image_is_spared_the_long_inputs(ended: type[Ended]) -> None:
    run_suites("an-image")
    run_suites("an-image", emulated=True)
    native, emulated = ended.commands
    assert "tests/image" in native
    assert "tests/contract" in native
    # Without this option, pyproject.toml's own leaves out what is slow.
    assert native.count("-m") == 1  # python -m pytest
    assert emulated[: len(native)] == native
    assert "not slow and not full_length" in emulated[len(native) :]


def test_a_suite_that_fails_is_said(ended: type[Ended]) -> None:
    ended.code = 1
    with pytest.raises(ToolError, match="an-image did not pass tests/image and tests/contract"):
        run_suites("an-image")


def test_the_inputs_as_long_as_the_context_are_marked() -> None:
    (named,) = (mark for mark in vars(test_contract.test_contract)["pytestmark"] if mark.args)
    long = {case.id for case in named.args[1] if "full_length" in {m.name for m in case.marks}}
    assert long == {"serves_context", "refuses_more_than_context", "truncates", "cohere_cuts"}


def test_an_image_of_the_engines_own_platform_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tools.publish.suites, "engine_platform", lambda: "linux/arm64")
    assert not is_emulated("linux/arm64")
    assert is_emulated("linux/amd64")
