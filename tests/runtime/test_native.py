"""The server as a process of this machine: its environment is compose's, and it fails aloud."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.support.requirements import need
from tools.common.errors import ToolError
from tools.common.processes import run_bounded
from tools.engine.docker import run_docker
from tools.facts.images import load_images
from tools.facts.models import Model, load_models
from tools.facts.paths import COMPOSE_FILE, CUDA_COMPOSE_FILE
from tools.images.labels import short_commit
from tools.images.recipe import patch_names
from tools.native.build import Build, find_build
from tools.native.gpu import parse_log
from tools.native.server import native_booted
from tools.native.source import write_archive
from tools.origins.choose import choose, resolve_source
from tools.serving.compose_file import read_service
from tools.serving.profile import clean_environment, model_environment
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

MODELS = load_models().models
NANO = MODELS["nano"]


@pytest.fixture(scope="module")
def build(pytestconfig: pytest.Config) -> Build:
    """The native CPU build."""
    try:
        return find_build("cpu")
    except ToolError as error:
        need(pytestconfig, "native", available=False, why=str(error))
        raise


@pytest.fixture(scope="module")
def tiny() -> Path:
    return ensure_synthetic(models_dir(), NANO, "tiny", "Q8_0")


# ------------------------------------------------------------------ the same as compose


@pytest.mark.parametrize("overrides", [(), (CUDA_COMPOSE_FILE,)], ids=["cpu", "cuda"])
@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_compose_itself_reads_the_files_alike(
    model: Model, overrides: tuple[Path, ...], engine: None, tiny: Path
) -> None:
    """Our reader of the compose files against `docker compose config`."""
    files = (COMPOSE_FILE, *overrides)
    variables = {
        **clean_environment(),
        **model_environment(model, tiny, synthetic=True),
        "JINA_DIMENSIONS": "64",
        "LLAMA_ARG_THREADS": "3",
        "JINA_PARALLEL": "",
    }
    named = [word for file in files for word in ("--file", str(file))]
    command = ["compose", *named, "--profile", model.name, "config", "--format", "json"]
    printed = run_docker(command, environment=variables, timeout=60)
    assert printed.returncode == 0, printed.stderr
    expected = json.loads(printed.stdout)["services"][model.name]
    ours = read_service(model.name, files, variables)
    # Compose keeps a variable without a value that the shell lacks, as null.
    given = {key: value for key, value in expected["environment"].items() if value is not None}
    assert ours.environment == given
    assert list(ours.command) == (expected.get("command") or [])


# ------------------------------------------------------------------ the build


def test_the_server_says_the_pinned_commit(build: Build) -> None:
    origin = next(o for o in load_images().llama_cpp if o.name == build.facts["origin"])
    result = run_bounded([str(build.server), "--version"], timeout=60)
    assert f"commit {short_commit(origin)}" in result.stdout + result.stderr


def test_what_it_is_made_of_is_written_down(build: Build) -> None:
    assert build.facts["patches"] == ",".join(patch_names())
    assert build.facts["flags"] == load_images().images["cpu"].cmake_flags


def test_an_archive_of_the_source_is_small(tmp_path: Path) -> None:
    """Small enough to be carried; nothing that the server needs is left out, as its build shows."""
    path = tmp_path / "source.tar.gz"
    write_archive(resolve_source(load_images(), choose([])), path)
    assert path.stat().st_size < 40e6


# ------------------------------------------------------------------ the process


def test_a_bad_model_file_is_reported_at_once_with_the_log(build: Build, tmp_path: Path) -> None:
    file = tmp_path / "garbage.gguf"
    file.write_bytes(b"not a GGUF file" * 1000)
    with (
        pytest.raises(ToolError, match="ended before it was healthy") as fault,
        native_booted(build.server, NANO, file, synthetic=True),
    ):
        pytest.fail("it came up")
    assert "invalid magic" in str(fault.value)


def test_two_at_once_have_ports_of_their_own(build: Build, tiny: Path) -> None:
    with (
        native_booted(build.server, NANO, tiny, synthetic=True) as first,
        native_booted(build.server, NANO, tiny, synthetic=True) as second,
    ):
        assert first.base_url != second.base_url
        name = httpx.get(f"{second.base_url}/v1/models", trust_env=False).json()["data"][0]["id"]
    assert name == "jina-embeddings-v5-text-nano-synthetic"
    # Ended by SIGTERM, tidily; not killed.
    assert first.process.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{first.base_url}/health", trust_env=False)


def test_the_log_of_a_cpu_build_shows_no_device(build: Build, tiny: Path, tmp_path: Path) -> None:
    """What the GPU checks read must not be found where no GPU is used."""
    more = tmp_path / "more.yaml"
    more.write_text('services: {nano: {environment: {LLAMA_ARG_LOG_VERBOSITY: "4"}}}')
    with native_booted(build.server, NANO, tiny, synthetic=True, overrides=[more]) as server:
        said = server.log()
    found = parse_log(said)
    assert found.devices == ()
    assert not found.offloaded
    assert not any(name.startswith("CUDA") for name in found.model_mib)
    assert sum(found.model_mib.values()) > 0
    assert sum(found.compute_mib.values()) > 0
    loaded = re.search(r"loaded CPU backend from (\S+)", said)
    assert loaded
    assert Path(loaded.group(1)).parent == build.folder
