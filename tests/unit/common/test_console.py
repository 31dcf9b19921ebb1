from __future__ import annotations

import io
import sys

import pytest

from tools.common.console import loud, progress, say, table


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
