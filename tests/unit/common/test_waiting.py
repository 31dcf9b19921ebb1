"""Waiting ends with an answer, with a fault, or at its limit."""

from __future__ import annotations

import pytest

from tools.common.waiting import wait_for


def test_the_first_answer_ends_the_wait() -> None:
    answers = iter([None, None, "there", "too late"])
    assert wait_for(lambda: next(answers), seconds=60, pause=0) == "there"
    assert next(answers) == "too late"


def test_it_looks_once_even_without_time_and_then_gives_up() -> None:
    looked: list[int] = []
    assert wait_for(lambda: looked.append(1), seconds=-1) is None
    assert looked == [1]


def test_a_fault_ends_the_wait() -> None:
    def look() -> None:
        raise ValueError("it died")

    with pytest.raises(ValueError, match="it died"):
        wait_for(look, seconds=60)
