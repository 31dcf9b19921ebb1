"""The process that a profile is booted as; small scripts stand in for the server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tools.common.errors import ToolError
from tools.facts.models import Model, load_models
from tools.native import server as native_server
from tools.native.server import image_environment, native_booted, profile_service

MODELS = load_models().models
NANO = MODELS["nano"]

#: Answers every request with 200, on a port of its own choice, as llama-server does with port 0.
HEALTHY = """
import http.server, json, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"arguments": sys.argv[1:], **os.environ}).encode())
server = http.server.HTTPServer((os.environ["LLAMA_ARG_HOST"], 0), Handler)
print(f"setting: address = http://127.0.0.1:{server.server_port}", flush=True)
"""
SERVE = "server.serve_forever()\n"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def script(folder: Path, text: str) -> Path:
    path = folder / "llama-server"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ------------------------------------------------------------------ what the process gets


def test_the_image_sets_what_a_container_has() -> None:
    assert image_environment() == {
        "LLAMA_ARG_HOST": "0.0.0.0",  # noqa: S104 - inside a container
        "LLAMA_ARG_PORT": "8080",
        "LLAMA_ARG_EMBEDDINGS": "1",
        "LLAMA_ARG_MODEL": "/models/model.gguf",
        "LLAMA_ARG_POOLING": "last",
        "LLAMA_ARG_N_PARALLEL": "16",
        "LLAMA_ARG_KV_UNIFIED": "1",
        "LLAMA_ARG_ENDPOINT_METRICS": "1",
        "GOMP_SPINCOUNT": "1000",
        "LLAMA_ARG_CACHE_RAM": "0",
        "LLAMA_ARG_CACHE_IDLE_SLOTS": "0",
    }


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_profile_is_the_one_of_the_compose_file(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_ARG_THREADS", "99")
    monkeypatch.setenv("JINA_PARALLEL", "99")
    service = profile_service(model, tmp_path / "weights.gguf", synthetic=True)
    environment = service.environment
    assert environment["LLAMA_ARG_MODEL"] == str(tmp_path / "weights.gguf")
    assert environment["LLAMA_ARG_HOST"] == "127.0.0.1"
    assert environment["LLAMA_ARG_POOLING"] == "last"
    assert environment["LLAMA_ARG_CTX_SIZE"] == str(model.serve.ctx_size)
    assert environment["LLAMA_ARG_N_PARALLEL"] == str(model.serve.parallel)
    assert environment["LLAMA_ARG_ALIAS"] == f"jina-embeddings-v5-text-{model.name}-synthetic"
    assert "LLAMA_ARG_THREADS" not in environment
    assert ("--override-kv" in service.command) == model.shape.causal


def test_a_process_has_exactly_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_THREADS", "99")
    small = MODELS["small"]
    server = script(tmp_path, HEALTHY + SERVE)
    with native_booted(server, small, tmp_path / "weights.gguf", synthetic=False) as running:
        got = httpx.get(running.base_url, trust_env=False).json()
    service = profile_service(small, tmp_path / "weights.gguf", synthetic=False)
    prefixes = ("LLAMA_", "JINA_", "GOMP_")
    ours = {key: value for key, value in got.items() if key.startswith(prefixes)}
    assert ours == service.environment
    assert got["arguments"] == list(service.command)


# ------------------------------------------------------------------ life


def test_it_is_stopped_at_the_end(tmp_path: Path) -> None:
    with native_booted(
        script(tmp_path, HEALTHY + SERVE), NANO, tmp_path / "w.gguf", synthetic=True
    ) as running:
        pid = running.process.pid
        assert is_running(pid)
        assert "setting: address = " in running.log()
    assert not is_running(pid)
    assert running.process.returncode == -signal.SIGTERM


def test_it_is_stopped_when_a_test_fails(tmp_path: Path) -> None:
    server = script(tmp_path, HEALTHY + SERVE)
    with (
        pytest.raises(KeyboardInterrupt),
        native_booted(server, NANO, tmp_path / "w.gguf", synthetic=True) as running,
    ):
        raise KeyboardInterrupt
    assert not is_running(running.process.pid)


def test_one_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(native_server, "STOP_SECONDS", 0.2)
    server = script(tmp_path, HEALTHY.replace("print(", STUBBORN + "print(") + SERVE)
    with native_booted(server, NANO, tmp_path / "w.gguf", synthetic=True) as running:
        pass
    assert not is_running(running.process.pid)
    assert "did not end" in capsys.readouterr().err


@pytest.mark.parametrize(
    "report",
    [
        "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x60 at pc 0x55",
        "==7==ERROR: LeakSanitizer: detected memory leaks",
        "/src/ggml/src/ggml.c:12:34: runtime error: signed integer overflow",
    ],
)
def test_what_a_sanitizer_found_is_an_error_although_all_was_answered(
    tmp_path: Path, report: str
) -> None:
    server = script(tmp_path, f"{HEALTHY}print({report!r}, flush=True)\n{SERVE}")
    with (
        pytest.raises(ToolError, match="a sanitizer found a fault") as fault,
        native_booted(server, NANO, tmp_path / "w.gguf", synthetic=True) as running,
    ):
        httpx.get(running.base_url, trust_env=False)
    assert report in str(fault.value)


@pytest.mark.parametrize(
    ("ending", "said"),
    [("sys.exit(3)", "exit code 3"), ("os.kill(os.getpid(), signal.SIGILL)", "signal 4")],
)
def test_one_that_ends_is_reported_at_once_with_its_log(
    tmp_path: Path, ending: str, said: str
) -> None:
    text = f"import os, signal, sys\nprint('why it failed', flush=True)\n{ending}\n"
    with (
        pytest.raises(ToolError, match=rf"ended before .* with {said}:\nwhy it failed"),
        native_booted(script(tmp_path, text), NANO, tmp_path / "w.gguf", synthetic=True),
    ):
        pytest.fail("it came up")


def test_one_that_is_never_healthy_meets_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_server, "BOOT_SECONDS", 1)
    answer = HEALTHY.replace("send_response(200)", "send_response(503)")
    for text, why in ((answer + SERVE, "503"), ("import time\ntime.sleep(60)\n", "did not say")):
        with (
            pytest.raises(ToolError, match=rf"not healthy within 1 seconds(.|\n)*{why}"),
            native_booted(script(tmp_path, text), NANO, tmp_path / "w.gguf", synthetic=True),
        ):
            pytest.fail("it came up")
