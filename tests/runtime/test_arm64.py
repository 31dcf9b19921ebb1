"""The image for arm64 boots and has the reference's vectors, on old CPUs and on new ones.

Where the machine is of another kind, QEMU emulates; QEMU_CPU says which CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.contract.checks.inputs import token_array
from tests.contract.checks.numbers import BARS, reference
from tests.support.client import Client
from tests.support.containers import (
    base_url,
    docker,
    logs,
    started,
    wait_for_health,
    with_model,
)
from tests.support.cpu_variants import VARIANTS as CPU_VARIANTS
from tests.support.cpu_variants import library
from tests.support.emulation import ARM64, EMULATED, arm64_image
from tests.support.vectors import cosine
from tools.catalog import load_models
from tools.fetch import models_dir
from tools.synthetic import ensure_synthetic

MODELS = load_models()
VARIANTS = CPU_VARIANTS[ARM64]
#: What QEMU calls a CPU, and the variants that the server may pick on it: the first 64-bit
#: generation (Raspberry Pi 3), that of most clouds' first ARM servers, and all that QEMU knows.
CPUS = (
    {"cortex-a53": ["armv8.0_1"], "neoverse-n1": ["armv8.2_2"], "max": ["armv9.2_2"]}
    if EMULATED
    else {"native": [*VARIANTS]}
)

LENGTHS = (3, 301)

#: One worker: emulated servers are slow enough one at a time.
pytestmark = pytest.mark.xdist_group("arm64")


@pytest.fixture(scope="module")
def arm64(engine: None, pytestconfig: pytest.Config) -> Iterator[str]:
    """The image for arm64 on a machine that can run it."""
    with arm64_image(pytestconfig) as name:
        yield name


def test_it_is_for_arm64_and_so_are_its_packages(arm64: str) -> None:
    assert docker("image", "inspect", "--format", "{{.Architecture}}", arm64) == "arm64"
    query = ["--entrypoint", "/usr/bin/dpkg-query", arm64, "-W", "-f", "${Architecture}\n"]
    architectures = docker("run", "--rm", "--platform", ARM64, *query).split()
    assert set(architectures) == {"arm64", "all"}


def test_the_variants_for_arm_are_shipped(arm64: str) -> None:
    listing = docker("run", "--rm", "--platform", ARM64, "--entrypoint", "/bin/ls", arm64, "/app")
    shipped = {name for name in listing.split() if name.startswith("libggml-cpu")}
    assert shipped == {library(variant) for variant in VARIANTS}


@pytest.mark.parametrize("model", sorted(MODELS.models))
@pytest.mark.parametrize("quantisation", ["Q8_0", "F16"])
@pytest.mark.parametrize("cpu", CPUS)
def test_agrees_with_the_reference(cpu: str, quantisation: str, model: str, arm64: str) -> None:
    file = ensure_synthetic(models_dir(), MODELS.models[model], "tiny", quantisation)
    options = ["--platform", ARM64, *with_model(file), "--env", f"QEMU_CPU={cpu}"]
    # Of no other size than the inputs need.
    options += ["--env", "LLAMA_ARG_CTX_SIZE=512", "--env", "LLAMA_ARG_N_PARALLEL=1"]
    with started(arm64, options=options, arguments=["--verbosity", "4"]) as container:
        wait_for_health(container, "healthy")
        loaded = re.search(r"loaded CPU backend from /app/libggml-cpu-(\S+)\.so", logs(container))
        assert loaded
        assert loaded.group(1) in CPUS[cpu]
        with Client(base_url(container)) as client:
            for length in LENGTHS:
                tokens = token_array(client, length)
                expected = reference(file).embed_tokens(tokens)
                assert cosine(client.embed([tokens])[0], expected) >= BARS[quantisation], length
