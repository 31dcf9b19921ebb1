from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.toy.server import ToyServer
from tools.bench.__main__ import main
from tools.bench.gpu import Memory, markdown
from tools.bench.load import Sample, random_inputs, seconds_for
from tools.bench.results import Cell, make_cell
from tools.bench.workloads import GPU_PLAN
from tools.common.errors import ToolError
from tools.facts.models import load_models
from tools.native.build import Build
from tools.native.gpu import Device

NANO = load_models().models["nano"]


def test_inputs_are_different_and_as_long_as_asked() -> None:
    with ToyServer(NANO) as server:
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
    with ToyServer(NANO) as server:
        inputs = random_inputs(server.described().base_url, 9, 5)
        answer = server.embeddings.answer

        def wait(request: dict[str, Any], path_side: str | None = None) -> object:
            sent.append(json.dumps(request))
            # Breaks unless three requests are under way at once.
            together.wait(timeout=30)
            return answer(request, path_side)

        monkeypatch.setattr(server.embeddings, "answer", wait)
        assert seconds_for(server.described().base_url, inputs, clients=3) > 0
    assert len(sent) == len(set(sent)) == 9


def test_a_request_that_fails_is_no_measurement() -> None:
    with (
        ToyServer(NANO) as server,
        pytest.raises(ToolError, match=r"answered 4\d\d to a request"),
    ):
        seconds_for(server.described().base_url, [[1, 2], [-1]], clients=2)


FACTS = {"cuda": "12.4", "commit": "0123456789abcdef", "origin": "fork"}
DEVICE = Device("GPU-1", "NVIDIA H100", "570.1", "9.0", 80 * 10**9, 0)


def cell(server: str, rate: float) -> Cell:
    sample = Sample(seconds=GPU_PLAN[0].requests / rate, latencies=(0.004,) * 40)
    return make_cell("nano", server, "Q8_0", GPU_PLAN[0], [sample])


def test_the_page_has_each_model_and_the_device() -> None:
    cells = [cell("ours", 200.0), cell("pytorch-fp16", 100.0)]
    memory = [Memory("nano Q8_0", 1_230_000_000, 4_560_000_000, 0.0123)]
    text = markdown(DEVICE, Build(Path(), FACTS), cells, memory, "PyTorch (torch 2)")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith(
        "NVIDIA H100 (compute capability 9.0), driver 570.1, CUDA 12.4, llama.cpp 012345678 from "
        "origin fork, "
    )
    assert lines[0].endswith(", beside PyTorch (torch 2)")
    assert "## nano" in lines
    (ours,) = [line for line in lines if "| ours Q8_0 |" in line]
    # Embeddings a second, and tokens.
    assert "| 200 " in ours
    assert f"| {200 * GPU_PLAN[0].tokens} |" in ours
    (other,) = [line for line in lines if "| pytorch-fp16 Q8_0 |" in line]
    assert other.rstrip(" |").endswith("2.00 (2.00 to 2.00)")
    assert lines[-1] == "| nano Q8_0 | 1.23 GB | 4.56 GB | 12 ms |"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--peers", "pytorch-fp16"], "add --gpu-report"),
        (["--gpu-report", "--peers", "openvino"], "openvino: no peer on a GPU"),
    ],
)
def test_a_peer_is_measured_where_it_runs(arguments: list[str], says: str) -> None:
    with pytest.raises(ToolError, match=says):
        main(arguments)
