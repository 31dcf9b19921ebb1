"""Every CPU variant that this host can run boots and agrees with the reference.

llama-server picks the best of the variants it ships. To judge the others, each is put beside
the server alone. Only a quantised model reaches some of the paths: GCC 12 built an AMX path
that died with SIGILL on Q8_0 and worked on F16 (llama.cpp pull request 26954).
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.checks.inputs import token_array
from tests.contract.checks.numbers import BARS, reference
from tests.support.amx import SAID as EMULATED_AMX
from tests.support.amx import build_emulator
from tests.support.containers import (
    docker,
    is_bare,
    logs,
    started,
    wait_for_health,
    with_model,
)
from tests.support.cpu_variants import (
    TILES,
    VARIANTS,
    library,
    multiplies_q8,
    platform_of_machine,
    runnable,
)
from tests.support.judge import VERBOSE, WEIGHTS, alone, judge, server, tiny
from tests.support.requirements import need
from tests.support.vectors import cosine
from tools.common.console import say, table
from tools.weights.recipe import Quantisation

#: This machine's platform, those of its variants that it can run, and whether it can run the one
#: for AMX where that is emulated.
HOST = platform_of_machine(platform.machine())
CPUINFO = Path("/proc/cpuinfo")
CPU = CPUINFO.read_text("ascii", "replace") if CPUINFO.is_file() else ""
RUNNABLE = runnable(HOST, CPU)
AMX = "sapphirerapids"
EMULATES_AMX = AMX in runnable(HOST, CPU, emulated=TILES)


@pytest.fixture
def native(image: str, pytestconfig: pytest.Config) -> str:
    """The image under test, for this machine's own CPU."""
    why = f"{image} is not for this machine's CPU; tests/runtime/test_arm64.py emulates others"
    need(pytestconfig, "native-image", available=platform_of(image) == HOST, why=why)
    return image


def platform_of(image: str) -> str:
    return docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", image)


def test_the_table_names_the_variants_that_are_shipped(image: str) -> None:
    listing = docker("run", "--rm", "--entrypoint", "/bin/ls", image, "/app")
    shipped = {name for name in listing.split() if name.startswith("libggml-cpu")}
    assert shipped == {library(variant) for variant in VARIANTS[platform_of(image)]}


def test_the_server_picks_a_variant_that_this_host_can_run(native: str) -> None:
    options = with_model(tiny("nano", "Q8_0"))
    with started(native, options=options, arguments=VERBOSE) as container:
        wait_for_health(container, "healthy")
        loaded = re.search(r"loaded CPU backend from /app/(\S+)", logs(container))
    assert loaded
    assert loaded.group(1) in {library(variant) for variant in RUNNABLE}


@pytest.mark.parametrize(("model", "quantisation"), WEIGHTS)
@pytest.mark.parametrize("variant", RUNNABLE)
def test_variant_agrees_with_the_reference(
    variant: str, model: str, quantisation: Quantisation, native: str
) -> None:
    said = judge(native, model, quantisation, *alone(variant))
    assert f"loaded CPU backend from /tmp/app/{library(variant)}" in said
    if not is_bare(native):
        ours = quantisation == "Q8_0" and multiplies_q8(variant)
        assert ("CPU_Q8 model buffer" in said) == ours


@pytest.mark.parametrize(("model", "quantisation"), WEIGHTS)
def test_the_variant_for_amx_agrees_with_the_reference_where_amx_is_emulated(
    model: str, quantisation: Quantisation, native: str, pytestconfig: pytest.Config
) -> None:
    """Its other instructions are the CPU's own."""
    why = "the variant for AMX has AVX-512 instructions that this CPU lacks"
    need(pytestconfig, "avx512", available=EMULATES_AMX, why=why)
    options, arguments = alone(AMX, before="LD_PRELOAD=/emulator.so")
    options += ["--volume", f"{build_emulator()}:/emulator.so:ro"]
    said = judge(native, model, quantisation, options, arguments)
    assert f"loaded CPU backend from /tmp/app/{library(AMX)}" in said
    # Upstream's kernel for it takes F16 too, but multiplies it without tiles.
    assert "AMX model buffer" in said
    assert (EMULATED_AMX in said) == (quantisation == "Q8_0")


#: Inputs of these lengths tell how far variants are apart.
APART_LENGTHS = (1, 3, 16, 64, 301, 1000, 2000)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("model", "quantisation"), WEIGHTS)
def test_how_far_variants_are_apart(model: str, quantisation: Quantisation, native: str) -> None:
    """Prints the table of docs/measured/exact.md.

    Two variants that are each within the bar of the reference may lie on either side of it: the
    angle between them is at most twice the bar's, and 1 - cosine then at most four times.
    """
    weights = tiny(model, quantisation)
    found: dict[str, NDArray[np.float32]] = {}
    for variant in RUNNABLE:
        with server(native, weights, *alone(variant)) as (_, client):
            inputs = [token_array(client, length) for length in APART_LENGTHS]
            found[variant] = np.array([client.embed([tokens])[0] for tokens in inputs])
    expected = np.array([reference(weights).embed_tokens(tokens) for tokens in inputs])
    rows = []
    for variant, vectors in found.items():
        to_reference = farthest(vectors, expected)
        to_another = max(farthest(vectors, others) for others in found.values())
        equal = [name for name, others in found.items() if np.array_equal(vectors, others)]
        rows.append(
            (
                variant,
                f"{to_reference:.1e}",
                f"{to_another:.1e}",
                " ".join(each for each in equal if each != variant),
            )
        )
        assert to_another <= 4 * (1 - BARS[quantisation]), variant
    say(f"\n{model} {quantisation}, the largest 1 - cosine of inputs of {APART_LENGTHS} tokens")
    table(rows, ("variant", "to the reference", "to another variant", "the same bytes as"))


def farthest(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """The largest 1 - cosine of two lists of vectors, pair by pair."""
    return float(1 - cosine(vectors, others).min())
