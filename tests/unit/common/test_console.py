from __future__ import annotations

import io
import sys

import pytest

from tools.common.console import loud, progress, rated_progress, say, table, time_left


def test_say_goes_to_stdout_and_loud_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("built")
    loud("origin a is unreachable")

    printed = capsys.readouterr()
    assert printed.out == "built\n"
    assert printed.err == "!! origin a is unreachable\n"


def test_table_aligns_text_to_the_left_and_numbers_to_the_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table([("nano", 768), ("small", 1024)], ["model", "dims"])

    assert capsys.readouterr().out == "model  dims\nnano    768\nsmall  1024\n"


def test_table_without_rows_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    table([], ["model", "dims"])

    assert capsys.readouterr().out == "model  dims\n"


def test_progress_off_a_terminal_is_a_line_for_each_tenth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress(1000, "file") as advance:
        for _ in range(1000):
            advance(1)

    assert capsys.readouterr().err.splitlines() == [f"file: {n}0%" for n in range(1, 11)]


def test_progress_that_starts_again_says_its_tenths_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress(100, "file") as advance:
        advance(50)
        advance(-50)
        advance(100)

    assert capsys.readouterr().err.splitlines() == ["file: 50%", "file: 100%"]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)

    with progress(2048, "file") as advance:
        advance(2048)

    assert "file: 100%" in terminal.getvalue()
    assert "2.00k" in terminal.getvalue()


def test_hours_of_work_say_how_fast_they_are_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("tools.common.console.time.monotonic", lambda: now)
    with rated_progress(10_000, "embed", "rows", done=4000) as advance:
        for now in (110.0, 129.0, 131.0, 150.0, 170.0, 180.0):  # noqa: B007
            advance(1000)

    assert capsys.readouterr().err.splitlines() == [
        "embed: 7,000 of 10,000 rows, 96.8/s, 31 s left",
        "embed: 9,000 of 10,000 rows, 71.4/s, 14 s left",
        "embed: 10,000 of 10,000 rows, 75.0/s, 0 s left",
    ]


def test_hours_of_work_on_a_terminal_are_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)

    with rated_progress(2000, "embed", "rows", done=500) as advance:
        advance(1500)

    assert "embed:  25%" in terminal.getvalue()
    assert "2000/2000" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert time_left(seconds) == said
