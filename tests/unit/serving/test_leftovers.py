"""What a killed test or demo left behind is found, and what somebody still needs is not removed."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.facts.paths import ROOT
from tools.serving import leftovers
from tools.serving.leftovers import NOBODY, OWNER_LABEL, OWNER_VARIABLE, is_owned, this_process

OVERRIDES = sorted((ROOT / "compose").rglob("temporary.yaml"))


def ended() -> str:
    """The owner that a process was which has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return f"{socket.gethostname()}:{process.pid}"


def test_an_owner_is_a_process_that_runs() -> None:
    assert is_owned(this_process())
    assert is_owned(f"another-machine:{os.getpid()}")
    assert not is_owned(ended())
    assert not is_owned(NOBODY)
    assert not is_owned("")


def test_only_stacks_without_an_owner_are_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    listing = [
        f"1|left|{ended()}",
        f"2|left|{ended()}",
        f"3|kept|{NOBODY}",
        f"4|busy|{this_process()}",
        f"5||{ended()}",
    ]

    def docker(arguments: list[str], **_: Any) -> str:
        asked.append(arguments)
        return "\n".join(listing) if arguments[0] == "ps" else "" if "ls" in arguments else "x"

    monkeypatch.setattr(leftovers, "ask_docker", docker)
    assert leftovers.remove_left_behind() == ["5", "kept", "left"]
    removed = [each[3:] for each in asked if each[:3] == ["rm", "--force", "--volumes"]]
    assert sorted(removed) == [["1", "2"], ["3"], ["5"]]
    assert "busy is left alone" in capsys.readouterr().out


@pytest.mark.parametrize("path", OVERRIDES, ids=lambda path: str(path.parent.name))
def test_a_temporary_stack_has_no_restart_policy_and_an_owner(path: Path) -> None:
    """Every service of the files that it goes on top of."""
    services = yaml.safe_load(path.read_text())["services"]
    base = yaml.safe_load(path.with_name("compose.yaml").read_text())["services"]
    assert set(services) == set(base)
    for service in services.values():
        assert service["restart"] == "no"
        assert service["labels"] == {OWNER_LABEL: f"${{{OWNER_VARIABLE}-}}"}


def test_every_compose_file_has_such_an_override() -> None:
    files = {path.parent for path in (ROOT / "compose").rglob("compose.yaml")}
    assert {path.parent for path in OVERRIDES} == files
