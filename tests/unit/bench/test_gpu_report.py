from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.wrong_server import WrongServer
from tools.bench.gpu import CLIENTS, Row, markdown
from tools.bench.load import random_inputs, seconds_for
from tools.common.errors import ToolError
from tools.facts.models import load_models
from tools.facts.paths import ROOT
from tools.native.build import Build
from tools.native.gpu import Device

NANO = load_models().models["nano"]


def test_inputs_are_different_and_as_long_as_asked() -> None:
    with WrongServer(NANO) as server:
        inputs = random_inputs(server.described().base_url, 20, 14)
        assert random_inputs(server.described().base_url, 20, 14) == inputs
    assert {len(tokens) for tokens in inputs} == {14}
    assert len({tuple(tokens) for tokens in inputs}) == 20
    assert len({tokens[-1] for tokens in inputs}) == 1


def test_every_input_is_sent_once_by_as_many_clients_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = threading.Barrier(3)
    sent = []
    with WrongServer(NANO) as server:
        inputs = random_inputs(server.described().base_url, 9, 5)
        answer = server.embeddings

        def wait(body: bytes, path_side: str | None = None) -> object:
            sent.append(body)
            # Breaks unless three requests are under way at once.
            together.wait(timeout=30)
            return answer(body, path_side)

        monkeypatch.setattr(server, "embeddings", wait)
        assert seconds_for(server.described().base_url, inputs, clients=3) > 0
    assert len(sent) == len(set(sent)) == 9


def test_a_request_that_fails_is_no_measurement() -> None:
    with (
        WrongServer(NANO) as server,
        pytest.raises(ToolError, match=r"answered 4\d\d to a request"),
    ):
        seconds_for(server.described().base_url, [[1, 2], [-1]], clients=2)


def test_the_table_is_markdown() -> None:
    device = Device("GPU-1", "NVIDIA H100", "570.1", "9.0", 80 * 10**9, 0)
    facts = {"cuda": "12.4", "commit": "0123456789abcdef", "origin": "fork"}
    row = Row("nano Q8_0", 12345.6, (1.0, 20.0, 300.4), 1_230_000_000, 4_560_000_000, 0.0123)
    lines = markdown(device, Build(Path(), facts), [row]).splitlines()
    assert lines[0].startswith(
        "NVIDIA H100 (compute capability 9.0), driver 570.1, CUDA 12.4, llama.cpp 012345678 from "
        "origin fork, "
    )
    assert lines[-1] == "| nano Q8_0 | 12346 | 1 | 20 | 300 | 1.23 GB | 4.56 GB | 12 ms |"
    assert len(lines[2].split("|")) == len(lines[-1].split("|")) == len(CLIENTS) + 7


def test_the_documentation_has_the_tables_columns() -> None:
    device = Device("GPU-1", "NVIDIA H100", "570.1", "9.0", 80 * 10**9, 0)
    facts = {"cuda": "12.4", "commit": "0123456789abcdef", "origin": "fork"}
    header = markdown(device, Build(Path(), facts), []).splitlines()[-2]
    assert header in (ROOT / "docs" / "serve" / "gpu.md").read_text().splitlines()
