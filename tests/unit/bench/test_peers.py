"""The peers of the benchmark: what is known of them, how they are made, and that they are checked.

Their models are judged where their environments are installed (tests/runtime/test_peers.py).
"""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import os
import re
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement

from tests.support.requirements import need
from tools.bench import agreement
from tools.bench.measure import Subject
from tools.bench.peers import environments, images, make
from tools.bench.peers.images import container_options
from tools.bench.peers.inference import server as inference_server
from tools.bench.peers.inference.batching import ALIKE, MOST_TOKENS, Vectors, choose, pad
from tools.bench.peers.inference.server import BatchingServer
from tools.bench.peers.known import (
    LLAMA_CPP_PYTHON,
    ONNXRUNTIME,
    PEERS,
    PYTORCH_BF16,
    Environment,
    ImagePeer,
    PythonPeer,
)
from tools.bench.peers.ours import OURS, Contender, PeerFacts
from tools.bench.peers.process import Process, booted_process
from tools.bench.peers.servers import awake
from tools.common.errors import ToolError
from tools.facts.images import SdistOrigin, load_images
from tools.facts.models import Model, load_models
from tools.facts.paths import ROOT
from tools.native.server import image_environment

MODELS = load_models().models
NANO = MODELS["nano"]
IMAGE_PEERS = [peer for peer in PEERS.values() if isinstance(peer, ImagePeer)]
PYTHON_PEERS = [peer for peer in PEERS.values() if isinstance(peer, PythonPeer)]
PACKAGES = {package for peer in PYTHON_PEERS for package in peer.environment.packages}

# ------------------------------------------------------------------ what is known


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_are_bounded_on_both_sides(package: str) -> None:
    operators = {each.operator for each in Requirement(package).specifier}
    assert operators in ({"=="}, {">=", "<"})


def test_what_our_own_packages_bound_too_is_bounded_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {Requirement(each).name: each for each in project["dependencies"]}
    shared = {Requirement(each).name: each for each in PACKAGES}
    assert {"gguf", "numpy"} <= ours.keys() & shared.keys()
    assert all(shared[name] == ours[name] for name in ours.keys() & shared.keys())


def test_llama_cpp_python_is_the_release_that_our_source_may_come_from() -> None:
    (package,) = LLAMA_CPP_PYTHON.environment.packages
    version = str(Requirement(package).specifier).removeprefix("==")
    sdists = [
        each for each in load_images().llama_cpp if isinstance(each, SdistOrigin) and each.auto
    ]
    assert version in {each.version for each in sdists}


@pytest.mark.parametrize("peer", IMAGE_PEERS, ids=lambda peer: peer.name)
def test_images_have_settings_for_every_model(peer: ImagePeer) -> None:
    assert peer.settings.keys() == MODELS.keys()
    names = {name for settings in peer.settings.values() for name in settings}
    # llama-server ignores a name that it does not know, as these two.
    assert not names & {"LLAMA_ARG_BATCH_SIZE", "LLAMA_ARG_UBATCH_SIZE"}
    for model in MODELS.values():
        options = container_options(peer, model, Path("/some/where/file.gguf"))
        assert "LLAMA_ARG_MODEL=/models/file.gguf" in options
        assert "/some/where:/models:ro" in options


#: What a server must be told to serve a model at all, in its own image as in ours; metrics have
#: nothing to do with speed.
NEEDED = {"HOST", "PORT", "EMBEDDINGS", "MODEL", "POOLING", "ENDPOINT_METRICS"}


@pytest.mark.parametrize("peer", IMAGE_PEERS, ids=lambda peer: peer.name)
def test_images_have_nothing_of_what_ours_sets_for_speed(peer: ImagePeer) -> None:
    ours = image_environment()
    chosen = ours.keys() - {f"LLAMA_ARG_{name}" for name in NEEDED}
    assert chosen
    for settings in peer.settings.values():
        assert chosen <= settings.keys()
        assert all(settings[name] != ours[name] for name in chosen)


def test_a_container_that_cannot_be_started_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[tuple[str, ...]] = []

    def docker(arguments: Sequence[str], **_: Any) -> CompletedProcess[str]:
        run.append(tuple(arguments))
        code = 1 if arguments[0] == "start" else 0
        return CompletedProcess(["docker"], code, "an-id\n", "no bridge")

    monkeypatch.setattr("tools.engine.docker.run_docker", docker)
    monkeypatch.setattr(images, "run_docker", docker)
    with (
        pytest.raises(ToolError, match="`docker start an-id` failed: no bridge"),
        images.booted_peer(IMAGE_PEERS[0], "an-image", MODELS["nano"], Path("/a/file.gguf")),
    ):
        pass
    assert [each[0] for each in run] == ["create", "start", "rm"]
    assert run[-1][-1] == "an-id"


def test_one_environment_has_one_list_of_packages() -> None:
    named: dict[str, Environment] = {}
    for peer in PYTHON_PEERS:
        assert named.setdefault(peer.environment.name, peer.environment) == peer.environment


# ------------------------------------------------------------------ what is computed together


def test_inputs_of_one_length_go_together_up_to_the_limit() -> None:
    assert choose([16] * 64) == list(range(64))
    assert choose([MOST_TOKENS // 4] * 9) == [0, 1, 2, 3]


def test_the_oldest_is_always_computed_however_long() -> None:
    assert choose([2 * MOST_TOKENS]) == [0]
    assert choose([2 * MOST_TOKENS, 16, 16]) == [0]


def test_little_is_padded() -> None:
    lengths = [100, 10, 90, 130, 76, 500, 101]
    chosen = choose(lengths)
    assert chosen == [0, 2, 4, 6]
    taken = [lengths[place] for place in chosen]
    assert min(taken) >= ALIKE * max(taken)


def test_padding_stands_behind_each_last_token() -> None:
    tokens, last = pad([[5, 6, 7], [8], [9, 10]])
    assert tokens.tolist() == [[5, 6, 7], [8, 0, 0], [9, 10, 0]]
    assert last.tolist() == [2, 0, 1]


# ------------------------------------------------------------------ the HTTP server


class Slow:
    """The vector of an input is its first token and its length; remembers what went together."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def embed(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        self.may_go.wait(30)
        self.calls.append(len(inputs))
        if any(each[0] == 666 for each in inputs):
            raise ValueError("an evil token")
        return np.array([[each[0], len(each)] for each in inputs], dtype=np.float32)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Slow, int]]:
    """A runner behind a server that runs in a thread, and its port."""
    said: list[str] = []
    listening = threading.Event()

    def note(text: str, **_: object) -> None:
        said.append(text)
        listening.set()

    monkeypatch.setattr(inference_server, "print", note, raising=False)
    runner = Slow()
    # On leaving, asyncio's lets what is still open be closed.
    around = asyncio.Runner()
    loop = around.get_loop()
    task = loop.create_task(BatchingServer(runner, "a model").serve("127.0.0.1", 0))

    def run() -> None:
        with around, pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    assert listening.wait(30)
    yield runner, int(said[0].rpartition(":")[2])
    loop.call_soon_threadsafe(task.cancel)
    thread.join()


def ask(port: int, body: object, path: str = "/v1/embeddings") -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, content)
    answer = connection.getresponse()
    status, said = answer.status, json.loads(answer.read())
    connection.close()
    return status, said


def test_vectors_come_in_order_in_both_forms(slow: tuple[Slow, int]) -> None:
    _, port = slow
    status, answer = ask(port, {"input": [[3, 1], [4, 1, 5, 9]]})
    assert status == 200
    assert [each["embedding"] for each in answer["data"]] == [[3.0, 2.0], [4.0, 4.0]]
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert answer["usage"]["prompt_tokens"] == 6
    _, encoded = ask(port, {"input": [7, 8, 9], "encoding_format": "base64"})
    packed = base64.b64decode(encoded["data"][0]["embedding"])
    assert np.frombuffer(packed, dtype="<f4").tolist() == [7.0, 3.0]


def test_requests_that_wait_are_computed_together(slow: tuple[Slow, int]) -> None:
    runner, port = slow
    runner.may_go.clear()
    answers: list[float] = []

    def client(number: int) -> None:
        answers.append(ask(port, {"input": [[number, 0, 0]]})[1]["data"][0]["embedding"][0])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)  # until all have been read: the first is being computed, seven wait
    runner.may_go.set()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(8))
    assert sum(runner.calls) == 8
    assert max(runner.calls) >= 4


def test_a_connection_is_kept(slow: tuple[Slow, int]) -> None:
    _, port = slow
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read()) == {"status": "ok"}
        local = connection.sock.getsockname()
    assert connection.sock.getsockname() == local
    connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        [],
        {},
        {"input": []},
        {"input": "text"},
        {"input": [[1], []]},
        {"input": [[True]]},
    ],
)
def test_what_is_no_token_array_is_refused(body: object, slow: tuple[Slow, int]) -> None:
    runner, port = slow
    assert ask(port, body)[0] == 400
    assert runner.calls == []


def test_a_fault_of_the_runner_is_answered_and_survived(slow: tuple[Slow, int]) -> None:
    _, port = slow
    status, answer = ask(port, {"input": [[666]]})
    assert (status, "an evil token" in answer["error"]["message"]) == (500, True)
    assert ask(port, {"input": [[1]]})[0] == 200
    assert ask(port, {}, "/other")[0] == 404


# ------------------------------------------------------------------ processes

SCRIPT = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def linux(pytestconfig: pytest.Config) -> None:
    available = sys.platform.startswith("linux")
    need(pytestconfig, "linux", available=available, why="peers as processes need its /proc")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(pid: int, states: str) -> str:
    deadline = time.monotonic() + 10
    while (state := state_of(pid)) not in states and time.monotonic() < deadline:
        time.sleep(0.01)
    return state


def test_a_process_is_stopped_continued_restarted_and_ended(linux: None) -> None:
    command = [sys.executable, "-c", SCRIPT, "{port}"]
    with booted_process(command, os.environ, "/ready") as process:
        first = process._running().pid
        process.send_signal("STOP")
        assert wait_for(first, "T") == "T"
        process.send_signal("CONT")
        assert wait_for(first, "RS") in "RS"
        assert process.peak_bytes() > 1_000_000
        # A stopped one can be ended too.
        process.send_signal("STOP")
        assert 0 < process.restart_seconds() < 60
        second = process._running().pid
        assert second != first
        assert not Path(f"/proc/{first}").exists()
    assert not Path(f"/proc/{second}").exists()


def test_a_process_that_ends_or_ended_says_why(linux: None) -> None:
    with (
        pytest.raises(ToolError, match=r"exit code 3:\nout of luck"),
        booted_process(
            [sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"], os.environ, "/"
        ),
    ):
        pass
    command = [sys.executable, "-c", SCRIPT, "{port}"]
    with booted_process(command, os.environ, "/ready") as process:
        started = process._running()
        process.send_signal("KILL")
        started.wait()
        with pytest.raises(ToolError, match="has ended, with signal 9"):
            process.send_signal("CONT")


def test_a_request_without_an_answer_tells_what_became_of_the_process(linux: None) -> None:
    script = f"print('its log', flush=True)\n{SCRIPT}"
    wanted = r"a-peer F16 does not answer .* ended with signal 9, and said at last:\nits log"
    command = [sys.executable, "-c", script, "{port}"]
    with (
        booted_process(command, os.environ, "/ready") as process,
        pytest.raises(ToolError, match=wanted),
    ):
        ask_while_it_ends(process)


def ask_while_it_ends(process: Process) -> None:
    """That it can no longer be stopped must not hide why."""
    started = process._running()
    with awake(process):
        started.kill()
        started.wait()
        agreement.embed(Subject(Contender("a-peer", "F16", not_booted), process), [[1]], 1)


# ------------------------------------------------------------------ environments

LITTLE = Environment("little", ("one>=1,<2", "other[extra]==3"))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What would have been run; the first command of each two makes the folder, as virtualenv."""
    monkeypatch.setenv("JINA_CACHE_DIR", str(tmp_path))
    run: list[list[str]] = []

    def note(command: Sequence[str], failed: str, **_: object) -> str:
        run.append(list(command))
        if "virtualenv" in command:
            Path(command[-1]).mkdir(parents=True)
        if "boom" in command:
            raise ToolError(failed)
        return ""

    monkeypatch.setattr(environments, "_run", note)
    return run


def test_an_environment_is_installed_once_and_anew_when_its_packages_change(
    commands: list[list[str]], tmp_path: Path, linux: None
) -> None:
    assert not environments.is_installed(LITTLE)
    python = environments.ensure_environment(LITTLE)
    assert python.is_relative_to(tmp_path)
    assert commands[1][0] == str(python)
    assert commands[1][-2:] == ["one>=1,<2", "other[extra]==3"]
    assert environments.is_installed(LITTLE)
    environments.ensure_environment(LITTLE)
    assert len(commands) == 2
    environments.ensure_environment(Environment("little", ("one>=2,<3",)))
    assert len(commands) == 4


def test_a_failed_installation_is_not_taken_for_a_finished_one(
    commands: list[list[str]], linux: None
) -> None:
    failing = Environment("little", ("boom",))
    with pytest.raises(ToolError, match="pip could not install boom"):
        environments.ensure_environment(failing)
    assert not environments.is_installed(failing)


def test_an_onnx_file_is_exported_once_for_each_model_file(
    commands: list[list[str]], tmp_path: Path
) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"one")
    made = environments.ensure_onnx(LITTLE, file)
    assert commands == [[str(environments.interpreter(LITTLE)), "-m", *commands[0][2:]]]
    assert commands[0][-2:] == [str(file), str(made)]
    environments.ensure_onnx(LITTLE, file)
    assert len(commands) == 1
    file.write_bytes(b"another")
    environments.ensure_onnx(LITTLE, file)
    assert len(commands) == 2


def test_the_runner_imports_nothing_of_ours_but_itself() -> None:
    for path in (ROOT / "tools/bench/peers/inference").glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (tools[\w.]*)", path.read_text(), re.MULTILINE)
        assert all(each.startswith("tools.bench.peers.inference") for each in imported), path
    for package in ("tools", "tools/bench", "tools/bench/peers", "tools/bench/peers/inference"):
        (docstring,) = ast.parse((ROOT / package / "__init__.py").read_text()).body
        assert isinstance(docstring, ast.Expr)


# ------------------------------------------------------------------ making them


def fake_make(images: object, peer: Any) -> make.Made:
    if peer.name in ("upstream", "openvino"):
        raise ToolError(f"no\n  {peer.name} here")
    return make.Made(PeerFacts(peer.name, "", "", None, None), ())


def test_all_takes_what_can_be_made_and_says_in_one_line_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make, "make", fake_make)
    made = make.make_peers(load_images(), ["all"])
    assert [each.facts.name for each in made] == [
        name for name in PEERS if name not in ("upstream", "openvino")
    ]
    (line,) = capsys.readouterr().err.splitlines()
    assert "upstream (no upstream here); openvino (no openvino here)" in line


def test_a_named_peer_that_cannot_be_made_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "make", fake_make)
    made = make.make_peers(load_images(), ["onnxruntime", "first-setup"])
    assert [each.facts.name for each in made] == ["first-setup", "onnxruntime"]
    with pytest.raises(ToolError, match="peer upstream: no"):
        make.make_peers(load_images(), ["upstream"])
    assert make.make_peers(load_images(), []) == []


@pytest.mark.parametrize(
    ("compiler", "amx", "expected"),
    [
        ("g++ (Debian 12.2.0-14) 12.2.0", True, ("F16",)),
        ("g++ (Debian 12.2.0-14) 12.2.0", False, ("F16", "Q8_0")),
        ("g++ (Debian 14.2.0-19) 14.2.0", True, ("F16", "Q8_0")),
    ],
)
def test_a_compiler_that_breaks_amx_serves_no_quantised_file(
    compiler: str, amx: bool, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "has_amx", lambda: amx)
    assert make.runnable(LLAMA_CPP_PYTHON, lambda: compiler) == expected
    # Those that compile nothing are not concerned.
    assert make.runnable(PYTORCH_BF16, lambda: compiler) == PYTORCH_BF16.quantisations


def test_an_exported_peer_is_given_the_onnx_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[list[str]] = []

    @contextmanager
    def booted(command: Sequence[str], environment: object, health: str) -> Iterator[Any]:
        started.append(list(command))
        yield None

    monkeypatch.setattr(make, "ensure_environment", lambda _: Path("/env/python"))
    monkeypatch.setattr(make, "installed_versions", lambda *_: "one 1")
    monkeypatch.setattr(make, "ensure_onnx", lambda _, file: file.with_suffix(".onnx"))
    monkeypatch.setattr(make, "booted_process", booted)
    for peer, suffix in ((ONNXRUNTIME, ".onnx"), (PYTORCH_BF16, ".gguf")):
        made = make.make(load_images(), peer)
        (contender,) = made.contenders
        with contender.boot(MODELS["nano"], tmp_path / "weights.gguf"):
            pass
        assert str((tmp_path / "weights.gguf").with_suffix(suffix)) in started[-1]
        assert "{port}" in started[-1]
        assert contender.label == f"{peer.name} F16"


# ------------------------------------------------------------------ the check


def not_booted(model: Model, file: Path) -> Any:
    raise AssertionError("nothing is booted here")


class Answering:
    """Stands for a booted server; its vectors are made by ``vector`` from an input."""

    base_url = "http://unused"

    def __init__(self, server: str, quantisation: Any, vectors: Vectors) -> None:
        self.vectors = vectors
        self.subject = Subject(Contender(server, quantisation, not_booted), self)

    def send_signal(self, name: str) -> None: ...

    def peak_bytes(self) -> int:
        return 0

    def restart_seconds(self) -> float:
        return 0.0

    def last_words(self) -> str:
        return ""


RIGHT = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(subject: Subject, inputs: object, tokens: int) -> Any:
        assert isinstance(subject.booted, Answering)
        return subject.booted.vectors.astype(float)

    monkeypatch.setattr(agreement, "embed", embed)


def wrong_in_one(angle: float) -> Vectors:
    """Only the longest input's vector is turned, by an angle whose cosine is known."""
    turned = RIGHT.astype(float)
    other = np.roll(turned[2], 1)
    other -= other @ turned[2] / (turned[2] @ turned[2]) * turned[2]
    other *= np.linalg.norm(turned[2]) / np.linalg.norm(other)
    turned[2] = np.cos(angle) * turned[2] + np.sin(angle) * other
    return turned.astype(np.float32)


def test_peers_that_agree_pass_whatever_the_length_of_their_vectors(
    answers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = Answering(OURS, "Q8_0", RIGHT)
    peers = [Answering("long", "F16", RIGHT * 7), Answering("near", "F16", wrong_in_one(0.044))]
    agreement.check(NANO, [ours.subject, *(each.subject for each in peers)])
    assert "near F16 agrees with ours Q8_0, cosines of 0.99903" in capsys.readouterr().out


@pytest.mark.parametrize(
    "vectors",
    [wrong_in_one(0.046), np.zeros_like(RIGHT), RIGHT[:, :4], RIGHT[[1, 0, 2]], -RIGHT],
    ids=["turned", "zero", "short", "shuffled", "negative"],
)
def test_a_peer_that_does_not_agree_is_named(vectors: Vectors, answers: None) -> None:
    subjects = [Answering(OURS, "Q8_0", RIGHT), Answering("a-peer", "F16", vectors)]
    with pytest.raises(ToolError, match="a-peer F16 is no peer"):
        agreement.check(NANO, [each.subject for each in subjects])


def test_a_peer_is_compared_with_ours_on_the_same_file(answers: None) -> None:
    q8, f16 = Answering(OURS, "Q8_0", -RIGHT), Answering(OURS, "F16", RIGHT)
    peer = Answering("a-peer", "F16", RIGHT)
    agreement.check(NANO, [q8.subject, f16.subject, peer.subject])


def test_vectors_are_read_in_both_forms_and_lengths_are_checked(slow: tuple[Slow, int]) -> None:
    _, port = slow
    answering = Answering("a-peer", "F16", RIGHT)
    answering.base_url = f"http://127.0.0.1:{port}"
    inputs = agreement.probes(7)
    assert isinstance(inputs[0], list)
    tokens = sum(agreement.LENGTHS)
    vectors = agreement.embed(answering.subject, inputs, tokens)
    assert vectors[:, 1].tolist() == list(agreement.LENGTHS)
    assert agreement.decode([1.0, 2.0]).tolist() == [1.0, 2.0]
    with pytest.raises(ToolError, match=r"says that it read \d+ tokens of \d+"):
        agreement.embed(answering.subject, inputs[:2], tokens)
    with pytest.raises(ToolError, match="a-peer F16 answered 400"):
        agreement.embed(answering.subject, agreement.probes(None), tokens)
