"""The container as compose runs it: who it is, what it may do, and how it lives and ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.containers import (
    base_url,
    composed,
    docker,
    inspect,
    logs,
    started,
    wait_for_end,
    wait_for_health,
    with_model,
)
from tools.engine.docker import run_docker
from tools.facts.models import load_models
from tools.facts.paths import COMPOSE_FILE
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

if TYPE_CHECKING:
    from tests.conftest import Stack


@pytest.fixture(scope="session")
def tiny() -> Path:
    """Small weights for tests of the container rather than of the model."""
    return ensure_synthetic(models_dir(), load_models().models["nano"], "tiny", "Q8_0")


# ------------------------------------------------------------------ hardening, by profile


def test_runs_without_privileges(stack: Stack) -> None:
    host = inspect(stack.running.container_id)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Privileged"]


def test_kernel_agrees_that_it_has_no_privileges(stack: Stack) -> None:
    status = docker("exec", stack.running.container_id, "cat", "/proc/1/status")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert set(fields["Uid"].split()) == {"65532"}
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"


def test_cannot_write_outside_its_tmpfs(stack: Stack) -> None:
    container = stack.running.container_id
    for place in ("/app", "/models", "/etc", "/var/tmp"):
        refused = run_docker(["exec", container, "touch", f"{place}/x"], timeout=30)
        assert refused.returncode != 0, place
    docker("exec", container, "touch", "/tmp/x")
    docker("exec", container, "rm", "/tmp/x")


def test_limits_are_those_of_the_catalogue(stack: Stack, pytestconfig: pytest.Config) -> None:
    host = inspect(stack.running.container_id)["HostConfig"]
    serve = stack.profile.model.serve
    gpu = pytestconfig.getoption("--gpu")
    assert host["Memory"] == (serve.gpu_memory_bytes if gpu else serve.memory_bytes)
    assert host["PidsLimit"] > 0
    assert host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    # A test's stack is not to start again with the engine (compose/temporary.yaml); a person's is.
    assert host["RestartPolicy"]["Name"] == "no"
    assert composed(stack.profile.model.name, COMPOSE_FILE)["restart"] == "unless-stopped"


def test_answers_on_loopback_only(stack: Stack) -> None:
    bindings = inspect(stack.running.container_id)["NetworkSettings"]["Ports"]["8080/tcp"]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}


def test_settings_took_effect(stack: Stack, image: str) -> None:
    """The same environment once more, with a log that prints what the engine made of it."""
    config = inspect(stack.running.container_id)["Config"]
    options = [argument for entry in config["Env"] for argument in ("--env", entry)]
    options += ["--volume", f"{stack.file.parent.resolve()}:/models:ro"]
    arguments = [*(config["Cmd"] or []), "--verbosity", "4"]
    with started(image, options=options, arguments=arguments) as container:
        wait_for_health(container, "healthy")
        said = logs(container)
        models = httpx.get(f"{base_url(container)}/v1/models", trust_env=False).json()
        metrics = httpx.get(f"{base_url(container)}/metrics", trust_env=False)
    serve = stack.profile.model.serve

    def value(name: str) -> str:
        found = re.search(rf"llama_context: {name} += (\S+)", said)
        assert found, name
        return found.group(1)

    assert int(value("n_ctx")) == serve.ctx_size
    assert int(value("n_ctx_seq")) == serve.ctx_size
    assert int(value("n_batch")) == serve.batch
    assert int(value("n_ubatch")) == serve.ubatch
    assert int(value("n_seq_max")) == serve.parallel
    assert value("kv_unified") == "true"
    assert int(value("causal_attn")) == int(stack.profile.model.shape.causal)
    assert re.search(r"n_slots = (\d+)", said).group(1) == str(serve.parallel)  # type: ignore[union-attr]
    assert metrics.status_code == 200
    assert models["data"][0]["id"].startswith(f"jina-embeddings-v5-text-{stack.profile.model.name}")


# ------------------------------------------------------------------ life


def test_health_goes_from_starting_to_healthy(image: str, tiny: Path) -> None:
    with started(image, options=with_model(tiny)) as container:
        assert wait_for_health(container, "healthy") in (["starting", "healthy"], ["healthy"])
        assert run_docker(["exec", container, "/app/healthcheck"], timeout=30).returncode == 0


def test_port_can_be_changed(image: str, tiny: Path) -> None:
    options = [*with_model(tiny), "--env", "LLAMA_ARG_PORT=9000", "--publish", "127.0.0.1::9000"]
    with started(image, options=options) as container:
        wait_for_health(container, "healthy")
        answer = httpx.get(f"{base_url(container, 9000)}/health", trust_env=False)
        assert answer.status_code == 200


def test_api_key_is_asked_for(image: str, tiny: Path) -> None:
    options = [*with_model(tiny), "--env", "LLAMA_API_KEY=first,second"]
    with started(image, options=options) as container:
        wait_for_health(container, "healthy")
        url = f"{base_url(container)}/v1/embeddings"

        def status(key: str | None) -> int:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            body = {"input": "hello"}
            return httpx.post(url, json=body, headers=headers, trust_env=False).status_code

        assert [status(key) for key in (None, "wrong", "first", "second")] == [401, 401, 200, 200]


def test_arguments_win_over_variables(image: str, tiny: Path) -> None:
    with started(
        image, options=with_model(tiny), arguments=["--alias", "by-argument"]
    ) as container:
        wait_for_health(container, "healthy")
        models = httpx.get(f"{base_url(container)}/v1/models", trust_env=False).json()
        assert models["data"][0]["id"] == "by-argument"


def test_sigterm_ends_it(image: str, tiny: Path) -> None:
    """`docker stop` must not need its SIGKILL, which it would send after 30 seconds here."""
    with started(image, options=with_model(tiny)) as container:
        wait_for_health(container, "healthy")
        docker("stop", "--time", "30", container)
        state = inspect(container)["State"]
        assert state["ExitCode"] == 0
        assert not state["OOMKilled"]


# ------------------------------------------------------------------ model files that are wrong


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("truncated", "data is not within the file bounds"),
        ("garbage", "invalid magic"),
        ("missing", "No such file or directory"),
    ],
)
def test_a_bad_model_file_never_becomes_healthy(
    name: str, said: str, image: str, tiny: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    whole = tiny.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "garbage": b"not a GGUF file" * 1000}
    file = tmp_path / f"{name}.gguf"
    if name in content:
        file.write_bytes(content[name])
        file.chmod(0o644)
    with started(image, options=with_model(file)) as container:
        assert wait_for_end(container) != 0
        output = logs(container)
        assert inspect(container)["State"]["Health"]["Status"] != "healthy"
    assert said in output
    assert f"/models/{name}.gguf" in output
