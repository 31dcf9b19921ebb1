"""The image for arm64 boots and has the reference's vectors, on old CPUs and on new ones.

Where the machine is of another kind, QEMU emulates; QEMU_CPU says which CPU. As in
test_cpu_dispatch.py, each variant is judged alone, too: no CPU picks all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.containers import docker
from tests.support.cpu_variants import VARIANTS as CPU_VARIANTS
from tests.support.cpu_variants import library
from tests.support.emulation import ARM64, EMULATED, arm64_image
from tests.support.judge import WEIGHTS, alone, judge
from tools.facts.models import load_models
from tools.weights.recipe import Quantisation

MODELS = load_models()
VARIANTS = CPU_VARIANTS[ARM64]
#: What QEMU calls a CPU, and the variants that the server may pick on it: the first 64-bit
#: generation (Raspberry Pi 3), that of most clouds' first ARM servers, and all that QEMU knows.
CPUS = (
    {"cortex-a53": ["armv8.0_1"], "neoverse-n1": ["armv8.2_2"], "max": ["armv9.2_2"]}
    if EMULATED
    else {"native": [*VARIANTS]}
)

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
def test_agrees_with_the_reference(
    cpu: str, quantisation: Quantisation, model: str, arm64: str
) -> None:
    said = judge(arm64, model, quantisation, on_cpu(cpu))
    loaded = re.search(r"loaded CPU backend from /app/libggml-cpu-(\S+)\.so", said)
    assert loaded
    assert loaded.group(1) in CPUS[cpu]


@pytest.mark.slow
@pytest.mark.skipif(not EMULATED, reason="tests/runtime/test_cpu_dispatch.py does that here")
@pytest.mark.parametrize(("model", "quantisation"), WEIGHTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_agrees_with_the_reference(
    variant: str, model: str, quantisation: Quantisation, arm64: str
) -> None:
    options, arguments = alone(variant)
    said = judge(arm64, model, quantisation, [*on_cpu("max"), *options], arguments)
    assert f"loaded CPU backend from /tmp/app/{library(variant)}" in said


def on_cpu(name: str) -> list[str]:
    """Options for QEMU's CPU of this name, and for a context no larger than the inputs need."""
    settings = {"QEMU_CPU": name, "LLAMA_ARG_CTX_SIZE": "512", "LLAMA_ARG_N_PARALLEL": "1"}
    given = [f"--env={key}={value}" for key, value in settings.items()]
    return ["--platform", ARM64, *given]
