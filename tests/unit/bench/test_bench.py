"""The benchmark's own parts: the plan, what is sent, how it is summed up, and what is shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support.requirements import need
from tests.support.words import Words
from tools.bench import report
from tools.bench.load import Sample, send_all
from tools.bench.machine import Machine, available_bytes, busy_share, read_cpuinfo
from tools.bench.measure import Subject, require_memory, run_rounds
from tools.bench.peers.image import ImageFacts
from tools.bench.peers.ours import OURS, Contender, PeerFacts
from tools.bench.peers.servers import Container
from tools.bench.results import Cell, Refusal, Results, StartAndMemory, load, make_cell, save
from tools.bench.statistics import Spread, median_spread, percentile, ratios
from tools.bench.workloads import (
    CLIENTS,
    LENGTHS,
    MOST_AT_ONCE,
    QUICK,
    TOKENS_A_ROUND,
    Workload,
    bodies,
    end_token,
    full_plan,
)
from tools.common.errors import ToolError
from tools.facts.models import Model, load_models
from tools.serving.profile import Running
from tools.weights.recipe import Quantisation, Recipe
from tools.weights.synthetic import ensure_synthetic
from tools.weights.vocabulary import make_vocabulary

#: A token that ends every array.
END = 7

# ------------------------------------------------------------------ statistics


def test_the_median_of_one_value_has_itself_as_interval() -> None:
    spread = median_spread([1.5])
    assert (spread.low, spread.median, spread.high) == (1.5, 1.5, 1.5)


def test_the_interval_holds_the_true_median_about_95_times_in_100() -> None:
    # The standard error of a share of 95 % over 400 trials is 1.1 %; four of them below is
    # 90.6 %. The interval is rounded outwards, so it may well be above.
    random = np.random.default_rng(1)
    trials = [median_spread(random.lognormal(size=40).tolist()) for _ in range(400)]
    held = np.mean([each.low <= 1 <= each.high for each in trials])
    assert 0.906 <= held < 1


def test_one_outlier_does_not_move_the_interval() -> None:
    values = [1.0 + 0.001 * place for place in range(40)]
    assert median_spread([*values, 50.0]).high < 1.04


def test_ratios_are_of_pairs() -> None:
    """A machine that became slower in the second round leaves them alone."""
    assert ratios([10.0, 1.0, 10.0], [5.0, 0.5, 5.0]) == Spread(2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (100, 50, 50.0),
        (100, 95, 95.0),
        (100, 99, 99.0),
        (1, 50, 1.0),
        (20, 95, 19.0),
        (19, 95, None),
        (99, 99, None),
        (0, 50, None),
    ],
)
def test_percentiles_are_values_that_were_seen_with_one_above(
    count: int, percent: int, expected: float | None
) -> None:
    values = [float(value) for value in range(1, count + 1)]
    np.random.default_rng(0).shuffle(values)
    assert percentile(values, percent) == expected


# ------------------------------------------------------------------ workloads


def test_the_full_plan_has_all_lengths_and_clients_but_no_endless_queue() -> None:
    plan = full_plan()
    assert len(set(plan)) == len(plan)
    assert {each.tokens for each in plan if each.batch == 1} == set(LENGTHS)
    assert {each.clients for each in plan if each.batch == 32} == set(CLIENTS)
    assert all(each.clients * each.batch * each.tokens <= MOST_AT_ONCE for each in plan)
    assert Workload(512, 64, 1) in plan
    assert Workload(2048, 64, 1) not in plan
    assert set(QUICK) <= set(plan)


@pytest.mark.parametrize("workload", full_plan(), ids=lambda workload: workload.name)
def test_a_round_gives_every_client_the_same_work_and_takes_a_while(workload: Workload) -> None:
    assert workload.requests % workload.clients == 0
    enough = workload.requests * workload.tokens_a_request >= TOKENS_A_ROUND
    assert enough or workload.requests >= 128


def test_names_tell_workloads_apart() -> None:
    assert Workload(16, 1, 1).name == "16 tokens, 1 client"
    assert Workload(128, 4, 32).name == "32 x 128, 4 clients"
    assert len({each.name for each in full_plan()}) == len(full_plan())


def test_bodies_hold_inputs_of_the_exact_length_and_none_twice() -> None:
    workload = Workload(16, 4, 32)
    inputs = [
        tuple(tokens)
        for number in (0, 1)
        for body in bodies(workload, (number, 0), END)
        for tokens in json.loads(body)["input"]
    ]
    assert len(inputs) == len(set(inputs)) == 2 * workload.requests * workload.batch
    assert {len(tokens) for tokens in inputs} == {16}
    assert {tokens[-1] for tokens in inputs} == {END}
    assert bodies(workload, (0, 0), END) == bodies(workload, (0, 0), END)


@pytest.mark.parametrize("model", load_models().models.values(), ids=lambda model: model.name)
def test_arrays_end_with_the_token_that_ends_every_text(model: Model) -> None:
    """The server refuses others."""
    assert end_token(model) == make_vocabulary(Recipe(model, "full", "Q8_0", 0)).eos


def test_texts_are_sent_instead_of_tokens_where_a_server_takes_none(
    tmp_path: Path,
) -> None:
    """Each is as long as the array would be, in tokens, on our synthetic weights."""
    workload = Workload(16, 4, 32)
    texts = [text for body in bodies(workload, (0, 0), None) for text in json.loads(body)["input"]]
    assert len(set(texts)) == len(texts) == workload.requests * workload.batch
    file = ensure_synthetic(tmp_path, load_models().models["nano"], "tiny", "Q8_0")
    words = Words(file)
    assert {len(words.token_ids(text)) for text in texts} == {16}


# ------------------------------------------------------------------ load


class Embedder(BaseHTTPRequestHandler):
    """Answers one empty vector for each input, and remembers who asked."""

    protocol_version = "HTTP/1.1"
    inputs: ClassVar[list[list[int]]]
    peers: ClassVar[set[Any]]
    fault: ClassVar[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).inputs.extend(body["input"])
        type(self).peers.add(self.client_address)
        count = len(body["input"]) - (self.fault == "vectors")
        text = '{"data":[' + ",".join(['{"embedding":""}'] * count) + "]}"
        self.send_response(500 if self.fault == "status" else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def embedder(request: pytest.FixtureRequest) -> Iterator[tuple[str, type[Embedder]]]:
    fault = getattr(request, "param", "")
    handler = type("Fresh", (Embedder,), {"inputs": [], "peers": set(), "fault": fault})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_request_is_sent_once_and_timed(embedder: tuple[str, type[Embedder]]) -> None:
    url, handler = embedder
    workload = Workload(16, 4, 32)
    requests = bodies(workload, (0, 0), END)
    sample = send_all(url, requests, clients=4, vectors=32)
    sent = [tuple(tokens) for body in requests for tokens in json.loads(body)["input"]]
    assert sorted(map(tuple, handler.inputs)) == sorted(sent)
    assert len(handler.peers) == 4  # one connection each, kept
    assert len(sample.latencies) == workload.requests
    assert 0 < max(sample.latencies) <= sample.seconds


@pytest.mark.parametrize(
    ("embedder", "said"),
    [("status", "answered 500"), ("vectors", "31 vectors to 32 inputs")],
    indirect=["embedder"],
)
def test_a_wrong_answer_ends_the_round(embedder: tuple[str, type[Embedder]], said: str) -> None:
    url, handler = embedder
    with pytest.raises(ToolError, match=said):
        send_all(url, bodies(Workload(16, 1, 32), (0, 0), END), clients=1, vectors=32)
    assert len(handler.inputs) == 32  # nothing was sent after the first


def test_a_server_that_is_not_there_is_an_error(embedder: tuple[str, type[Embedder]]) -> None:
    with pytest.raises(ToolError, match="did not answer"):
        send_all("http://127.0.0.1:1", [b"{}"] * 8, clients=4, vectors=1)


# ------------------------------------------------------------------ rounds


def subject(server: str, quantisation: Quantisation, place: int) -> Subject:
    def boot(model: Model, file: Path) -> Any:
        raise AssertionError("nothing is booted here")

    running = Running(f"http://{place}", str(place))
    return Subject(Contender(server, quantisation, boot), Container(running))


SUBJECTS = [subject(OURS, "Q8_0", 1), subject(OURS, "F16", 2), subject("a-peer", "F16", 3)]
PLAN = (Workload(16, 1, 1), Workload(128, 1, 32))


def place_of(subject: Subject) -> int:
    assert isinstance(subject.booted, Container)
    return int(subject.booted.running.container_id)


def test_rounds_alternate_and_each_sample_goes_to_its_own_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each run is told by its duration: the server's number, the workload's, the round's."""
    runs: list[int] = []

    def run_once(model: Model, subject: Subject, workload: Workload, number: int) -> Sample:
        runs.append(100 * place_of(subject) + 10 * (1 + PLAN.index(workload)) + number)
        return Sample(float(runs[-1]), (1.0,))

    monkeypatch.setattr("tools.bench.measure.run_once", run_once)
    cells, refusals = run_rounds(load_models().models["nano"], SUBJECTS, PLAN, rounds=2)
    assert runs == [110, 210, 310, 120, 220, 320, 311, 211, 111, 321, 221, 121]
    assert refusals == []
    took = {
        (each.label, each.workload): [
            round(each.workload.requests * each.workload.batch / rate) for rate in each.rates
        ]
        for each in cells
    }
    assert took == {
        ("ours Q8_0", PLAN[0]): [110, 111],
        ("ours F16", PLAN[0]): [210, 211],
        ("a-peer F16", PLAN[0]): [310, 311],
        ("ours Q8_0", PLAN[1]): [120, 121],
        ("ours F16", PLAN[1]): [220, 221],
        ("a-peer F16", PLAN[1]): [320, 321],
    }


def test_what_a_peer_cannot_answer_is_said_and_asked_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Workload] = []

    def run_once(model: Model, subject: Subject, workload: Workload, number: int) -> Sample:
        if subject.contender.server != OURS:
            asked.append(workload)
            if workload == PLAN[1]:
                raise ToolError("too long")
        return Sample(1.0, (1.0,))

    monkeypatch.setattr("tools.bench.measure.run_once", run_once)
    cells, refusals = run_rounds(load_models().models["nano"], SUBJECTS, PLAN, rounds=2)
    assert asked == [PLAN[0], PLAN[1], PLAN[0]]
    assert refusals == [Refusal("nano", "a-peer", "F16", PLAN[1], "too long")]
    assert {each.workload for each in cells if each.server == "a-peer"} == {PLAN[0]}
    assert "a-peer F16, 32 x 128, 1 client: too long" in capsys.readouterr().err


def test_what_ours_cannot_answer_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_once(model: Model, subject: Subject, workload: Workload, number: int) -> Sample:
        raise ToolError("too long")

    monkeypatch.setattr("tools.bench.measure.run_once", run_once)
    with pytest.raises(ToolError, match="too long"):
        run_rounds(load_models().models["nano"], SUBJECTS, PLAN, rounds=2)


# ------------------------------------------------------------------ machine

CPUINFO = "\n".join(
    f"""processor\t: {number}
model name\t: An Example CPU @ 2.0 GHz
physical id\t: 0
core id\t\t: {number // 2}
flags\t\t: fpu sse2 avx2 avx512f amx_int8
"""
    for number in range(4)
)


def test_cpuinfo_counts_cores_and_names_what_matters() -> None:
    assert read_cpuinfo(CPUINFO) == (
        "An Example CPU @ 2.0 GHz",
        2,
        ("avx2", "avx512f", "amx_int8"),
    )


def test_cpuinfo_of_arm_has_neither_model_nor_cores() -> None:
    text = "processor\t: 0\nFeatures\t: fp asimddp i8mm\n\nprocessor\t: 1\nFeatures\t: fp\n"
    assert read_cpuinfo(text) == ("unknown", 2, ("asimddp", "i8mm"))
    with pytest.raises(ToolError, match="no processor"):
        read_cpuinfo("Hardware\t: something\n")


def test_busy_is_all_that_is_not_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 ticks: 10 user, 5 stolen, 80 idle, 5 waiting for a disk; guest time is in user's."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 0 1000 0 0 0 0 50 0\ncpu0 1\n")

    def later(_: float) -> None:
        stat.write_text("cpu  110 0 0 1080 5 0 0 5 60 0\ncpu0 1\n")

    monkeypatch.setattr("tools.bench.machine.time.sleep", later)
    assert busy_share(stat) == pytest.approx(0.15)
    assert busy_share(tmp_path / "missing") is None


def test_servers_that_leave_no_memory_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  24000000 kB\nMemAvailable:  3145728 kB\n")
    assert available_bytes(meminfo) == 3 * 2**30
    assert available_bytes(tmp_path / "missing") is None
    monkeypatch.setattr("tools.bench.measure.available_bytes", lambda: 3 * 2**30)
    nano = load_models().models["nano"]
    require_memory(nano, 3)
    with pytest.raises(ToolError, match=r"4 servers of nano leave 3\.2 GB"):
        require_memory(nano, 4)


# ------------------------------------------------------------------ results

SHORT = Workload(16, 64, 1)


def cell(server: str, quantisation: str, *rates: float) -> Cell:
    return Cell("nano", server, quantisation, SHORT, rates, 384, 12.0, 34.5, None)


RESULTS = Results(
    made="2026-01-01 00:00 UTC",
    rounds=3,
    busy=0.01,
    machine=Machine("A CPU", 2, 4, ("avx2",), 8 * 2**30, "6.1"),
    image=ImageFacts("image:cpu", "sha256:0123", "abcdef", "fork", 116_000_000, 44_000_000),
    peers=(
        PeerFacts("a-peer", "another server", "sha256:4567", 200_000_000, 90_000_000),
        PeerFacts("in-python", "a third", "torch 2.13.0", None, None),
    ),
    cells=(
        cell(OURS, "Q8_0", 100.0, 120.0, 110.0),
        cell(OURS, "F16", 50.0, 60.0, 44.0),
        cell("a-peer", "F16", 200.0, 480.0, 440.0),
    ),
    refusals=(Refusal("nano", "a-peer", "F16", Workload(2048, 1, 1), "it answered 400:\n no"),),
    servers=(StartAndMemory("nano", OURS, "Q8_0", (1.5, 1.25, 1.75), 2_500_000_000),),
)


def test_a_cell_sums_up_its_rounds() -> None:
    workload = Workload(128, 1, 32)
    rounds = [Sample(2.0, (0.5, 1.5)), Sample(4.0, (2.5, 1.5))]
    made = make_cell("nano", OURS, "F16", workload, rounds)
    inputs = workload.requests * 32
    assert made.rates == (inputs / 2, inputs / 4)
    assert (made.requests, made.p50, made.p95) == (4, 1500.0, None)


def test_results_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    save(RESULTS, path)
    assert load(path) == RESULTS
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not JSON", "not a result"),
        ("[]", "not a result"),
        ("{}", "not a result"),
        ('{"version": 1}', "another version"),
        ('{"version": 2, "machine": {}}', "not a result"),
    ],
)
def test_a_file_that_is_no_result_is_named(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ToolError, match=f"other.json.*{said}"):
        load(path)
    with pytest.raises(ToolError, match=r"cannot read .*missing\.json"):
        load(tmp_path / "missing.json")


def test_rows_have_medians_ranges_and_the_ratio_of_each_round() -> None:
    q8, f16, peer = report.rate_rows(RESULTS, "nano")
    # 100 / 50, 120 / 60 and 110 / 44.
    assert f16 == (
        *("16 tokens, 64 clients", "ours F16", "50.0 (44.0 to 60.0)", "800"),
        *("12.0", "34.5", "-", "2.00 (2.00 to 2.50)"),
    )
    assert q8[1:3] == ("ours Q8_0", "110 (100 to 120)")
    assert q8[-1] == ""
    # 100 / 200, 120 / 480 and 110 / 440.
    assert (peer[1], peer[-1]) == ("a-peer F16", "0.25 (0.25 to 0.50)")
    assert report.rate_rows(RESULTS, "small") == []


def test_changes_are_sure_only_where_the_ranges_are_apart() -> None:
    # The peer's F16 is not compared with ours.
    now = replace(
        RESULTS,
        cells=(cell(OURS, "Q8_0", 200.0, 210.0, 190.0), cell(OURS, "F16", 55.0, 45.0, 50.0)),
    )
    faster, same = report.changes(RESULTS, now)
    assert faster.times == pytest.approx(200 / 110)
    assert faster.sure
    assert (same.times, same.sure) == (1.0, False)
    rows = report.change_rows([faster, same])
    assert [row[-1] for row in rows] == ["faster", "within the spread"]
    assert report.change_rows(report.changes(now, RESULTS))[0][-1] == "slower"
    assert report.changes(RESULTS, replace(RESULTS, cells=())) == []


def test_the_page_says_what_how_and_on_what() -> None:
    text = report.page(RESULTS, "nox -s bench -- --page", ["benchmarks/nano.svg"])
    for said in ("A CPU, 2 cores (4 threads; avx2)", "sha256:0123", "`nox -s bench -- --page`"):
        assert said in text
    assert "![nano](benchmarks/nano.svg)" in text
    assert "1.50 (1.25 to 1.75)" in text
    assert "a-peer: another server; sha256:4567, 200 MB, 90 MB compressed" in text
    assert "- in-python: a third; torch 2.13.0\n" in text
    refused = "| nano  | a-peer F16 | 2048 tokens, 1 client | it answered 400: no |"
    assert refused in text
    assert "Not answered" not in report.page(replace(RESULTS, refusals=()), "", [])
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables[:4]}) == 1


def test_pictures_are_the_same_for_the_same_results(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    found = find_spec("matplotlib") is not None
    need(pytestconfig, "matplotlib", available=found, why="`nox -s bench` installs it")
    from tools.bench.plots import draw  # noqa: PLC0415 - needs matplotlib

    for name in ("one", "other"):
        draw(RESULTS, "nano", tmp_path / f"{name}.svg")
    picture = (tmp_path / "one.svg").read_text()
    assert picture == (tmp_path / "other.svg").read_text()
    workloads = {cell.workload.name for cell in RESULTS.cells if cell.model == "nano"}
    for said in ("ours Q8_0", "ours F16", "a-peer F16", "tokens/s", *workloads):
        assert said in picture
