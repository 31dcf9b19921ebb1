"""Traffic as people send it: random moments, times counted from them, no input twice."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest

from tests.support.scripted_server import Said, saying
from tests.unit.bench.conftest import Counting
from tools.bench import load, traffic
from tools.bench.load import send_at
from tools.common.errors import ToolError
from tools.facts.models import load_models

NANO = load_models().models["nano"]
#: As long as a first answer takes below; a second one must not look faster for waiting for it.
STALL_SECONDS = 0.2


def embedded(count: int = 1) -> Said:
    return 200, {}, json.dumps({"data": [{"embedding": [1.0]}] * count})


def test_arrivals_have_their_rate_and_know_nothing_of_each_other() -> None:
    count, rate = 10_000, 50.0
    gaps = np.diff([0.0, *traffic.arrivals(np.random.default_rng(0), count, rate)])
    # An exponential gap's deviation is its mean, so the mean of so many gaps is off by 1 % (one
    # deviation of it); the deviation of the gaps by about 1.4 %. Five of these are 7 %.
    assert gaps.mean() == pytest.approx(1 / rate, rel=0.07)
    assert gaps.std() == pytest.approx(1 / rate, rel=0.07)


def test_searches_that_come_again_follow_zipfs_law() -> None:
    count = 20_000
    drawn = traffic.repeated(np.random.default_rng(0), count)
    assert max(drawn) < traffic.DIFFERENT_SEARCHES
    first, tenth = drawn.count(0), drawn.count(9)
    # The sum of 1/n up to 10,000 is 9.79: 2,043 and 204 are expected, with deviations of their
    # roots, 45 and 14. Five of these are 11 % and 35 %.
    assert first == pytest.approx(count / 9.788, rel=0.11)
    assert tenth == pytest.approx(count / 97.88, rel=0.35)


def test_the_share_that_came_before_counts_the_later_ones_too() -> None:
    assert traffic.share_seen([1, 2], [2, 3, 3, 4]) == 0.5


def test_a_request_that_leaves_late_counts_from_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_AT_ONCE", 1)

    def answer(number: int) -> Said:
        if number == 0:
            time.sleep(STALL_SECONDS)
        return embedded()

    with saying(answer) as url:
        took = send_at(url, [b"{}"] * 2, [0.0, 0.0])
    assert min(took) >= STALL_SECONDS


def test_a_request_waits_for_its_moment() -> None:
    began = time.perf_counter()
    with saying(lambda _: embedded()) as url:
        took = send_at(url, [b"{}"] * 2, [0.0, STALL_SECONDS])
    assert time.perf_counter() - began >= STALL_SECONDS
    assert min(took) >= 0


def test_a_refused_request_ends_it_with_what_the_server_said() -> None:
    with saying(lambda _: (503, {}, "too much waits")) as url, pytest.raises(ToolError) as raised:
        send_at(url, [b"{}"] * 3, [0.0, 0.0, 60.0])
    assert "answered 503 to a request: too much waits" in str(raised.value)


def test_each_traffic_has_a_row_and_no_input_is_sent_twice(
    url: str, handler: type[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "SEARCHES", 20)
    monkeypatch.setattr(traffic, "BURST", 5)
    monkeypatch.setattr(traffic, "BESIDE_DOCUMENTS", 1000.0)
    monkeypatch.setattr(traffic, "EARLIER_SEARCHES", 10)
    inputs = traffic.Inputs(NANO, np.random.default_rng(0))
    rows = traffic.measure(url, "image", inputs, 1000.0)
    repeating = rows[4][0]
    assert re.fullmatch(r"searches at 80%, \d+% seen before", repeating)
    assert [row[0] for row in rows] == [
        "one search at a time",
        "searches at 50% of 1000/s",
        "searches at 80% of 1000/s",
        "searches at 95% of 1000/s",
        repeating,
        "5 searches at once",
        "the same in one request",
        "searches beside 4 clients' documents",
    ]
    again = len(handler.inputs) - len(set(map(str, handler.inputs)))
    assert 0 < again < 10 + 40  # of the searches that come again only
    lengths = [len(tokens) for tokens in handler.inputs]
    assert lengths.count(traffic.SEARCH_TOKENS) == 20 + 3 * 40 + 10 + 40 + 5 + 5 + 20
    documents = [length for length in lengths if length != traffic.SEARCH_TOKENS]
    assert min(documents) >= 512
    assert max(documents) <= NANO.context
