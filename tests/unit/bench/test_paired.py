"""Tests of the paired comparison: what it says of a ratio, and that it sends what it counts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.unit.bench.conftest import Counting
from tools.bench.paired import WORKLOADS, Workload, compare, run_round
from tools.bench.peers.servers import MeasuredServer
from tools.common.errors import ToolError


@dataclass(frozen=True)
class Waking:
    """A server of which only is known when it was let run."""

    name: str
    base_url: str
    woken: list[str]

    def send_signal(self, name: str) -> None:
        if name == "CONT":
            self.woken.append(self.name)

    def peak_bytes(self) -> int:
        raise NotImplementedError

    def restart_seconds(self) -> float:
        raise NotImplementedError

    def last_words(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_round_sends_what_it_says_and_no_text_twice(
    workload: Workload, url: str, handler: type[Counting]
) -> None:
    run_round(url, workload, 0)
    run_round(url, workload, 1)
    assert handler.requests == 2 * workload.requests
    assert len(set(map(str, handler.inputs))) == 2 * workload.requests * workload.texts


def test_a_server_that_fails_in_the_middle_is_an_error(url: str, handler: type[Counting]) -> None:
    handler.fail_after = 3
    with pytest.raises(ToolError, match="answered 500 to a request"):
        run_round(url, WORKLOADS[0], 0)


def test_each_of_the_servers_goes_first_in_its_turn(url: str) -> None:
    woken: list[str] = []
    servers: list[MeasuredServer] = [Waking(name, url, woken) for name in "abc"]
    speeds = compare(servers, Workload("one text", requests=1, texts=1, words=1, clients=1), 3)
    assert "".join(woken) == "abcbcacab"
    assert [len(each) for each in speeds] == [3, 3, 3]
