"""What docker's command line is given, and what becomes of its answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.common.errors import ToolError
from tools.engine.compose import Compose
from tools.engine.docker import ask_docker, docker_failure, run_docker


def test_an_answer_comes_without_the_white_space_around_it(
    docker: Callable[[str], None],
) -> None:
    docker('echo " $1 $2 "; echo')
    assert ask_docker(["image", "ls"]) == "image ls"


def test_a_failure_says_what_failed_in_docker_s_words(docker: Callable[[str], None]) -> None:
    docker("echo why >&2; exit 3")
    with pytest.raises(ToolError, match=r"^`docker image ls` failed: why$"):
        ask_docker(["image", "ls"])
    with pytest.raises(ToolError, match=r"^cannot do it: why$"):
        ask_docker(["image", "ls"], failed="cannot do it")
    assert run_docker(["image", "ls"]).returncode == 3


def test_a_docker_that_hangs_or_is_not_there_is_said(
    docker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker("exec sleep 60")
    with pytest.raises(ToolError, match="`docker ps` gave no answer within 0 seconds"):
        run_docker(["ps"], timeout=0.1)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent / "nowhere"))
    with pytest.raises(ToolError, match="no docker command on PATH"):
        run_docker(["ps"])


def test_no_reason_is_no_empty_sentence() -> None:
    assert str(docker_failure("  ", "it failed")) == "it failed: no reason given"


def test_compose_is_given_files_project_and_profile_before_the_verb(
    docker: Callable[[str], None],
) -> None:
    docker("exit 0")
    compose = Compose((Path("a.yaml"), Path("b.yaml")), "a-project", "nano")
    assert compose.command("up", "--detach") == [
        *("compose", "--file", "a.yaml", "--file", "b.yaml"),
        *("--profile", "nano", "--project-name", "a-project", "up", "--detach"),
    ]


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("127.0.0.1:32768", "127.0.0.1:32768"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "127.0.0.1:8080"),
        (":::8080", "127.0.0.1:8080"),
        ("192.0.2.7:8080", "192.0.2.7:8080"),
    ],
)
def test_a_published_port_has_an_address_here(
    docker: Callable[[str], None], said: str, address: str
) -> None:
    docker(f"echo {said}")
    assert Compose().address("nano", 8080) == address


def test_compose_gets_its_own_variables(docker: Callable[[str], None]) -> None:
    docker('echo "$JINA_PORT"')
    compose = Compose(environment={"JINA_PORT": "7", "PATH": os.environ["PATH"]})
    assert compose.ask("ps") == "7"
