from __future__ import annotations

from pathlib import Path

import pytest

from tools.common.errors import ToolError
from tools.facts.paths import COMPOSE_FILE, ROOT
from tools.serving.compose_file import Service, interpolate, read_service

BASE = """
x-environment: &environment
  SHARED: one
services:
  nano:
    environment:
      <<: *environment
      FILE: /models/${FILE:-default.gguf}
      NUMBER: 8192
      FROM_SHELL:
      NOT_IN_SHELL:
    command: ["--first", "${WORD-word}"]
  other:
    environment: {}
"""


def files(tmp_path: Path, *texts: str) -> list[Path]:
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(text)
    return paths


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("plain", {}, "plain"),
        ("${A}", {"A": "x"}, "x"),
        ("${A}", {}, ""),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A-d}", {"A": ""}, ""),
        ("${A-d}", {}, "d"),
        ("${A-}", {}, ""),
        ("p/${A:-d}/${B:-e}", {"B": "f"}, "p/d/f"),
    ],
)
def test_variables_are_put_in_as_compose_does(
    text: str, variables: dict[str, str], expected: str
) -> None:
    assert interpolate(text, variables) == expected


def test_a_service_has_what_its_files_say(tmp_path: Path) -> None:
    variables = {"FILE": "own.gguf", "FROM_SHELL": "shell", "UNASKED": "no"}
    assert read_service("nano", files(tmp_path, BASE), variables) == Service(
        {
            "SHARED": "one",
            "FILE": "/models/own.gguf",
            "NUMBER": "8192",
            "FROM_SHELL": "shell",
        },
        ("--first", "word"),
    )


def test_a_later_file_is_on_top(tmp_path: Path) -> None:
    more = 'services: {nano: {environment: {SHARED: two, MORE: "1"}, command: ["--second"]}}'
    service = read_service("nano", files(tmp_path, BASE, more), {})
    assert service.environment["SHARED"] == "two"
    assert service.environment["MORE"] == "1"
    assert service.environment["NUMBER"] == "8192"
    assert service.command == ("--second",)


def test_a_file_without_the_service_changes_nothing(tmp_path: Path) -> None:
    both = files(tmp_path, BASE, "services: {other: {command: [x]}}")
    assert read_service("nano", both, {}) == read_service("nano", both[:1], {})


def test_a_service_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"0\.yaml: there is no service huge"):
        read_service("huge", files(tmp_path, BASE), {})


@pytest.mark.parametrize("text", ["", "services", "{", "other: {}"])
def test_what_is_no_compose_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolError, match="is no compose file"):
        read_service("nano", files(tmp_path, text), {})


def test_our_files_hold_no_other_form_of_variable() -> None:
    """What interpolate() does not know, it would leave as it is."""
    for path in (ROOT / "compose").glob("*.yaml"):
        assert "$" not in interpolate(path.read_text(), {}), path.name
    assert COMPOSE_FILE.exists()
