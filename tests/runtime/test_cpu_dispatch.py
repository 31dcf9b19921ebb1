"""Every CPU variant that this host can run boots and agrees with the reference.

llama-server picks the best of the variants it ships. To judge the others, each is put beside
the server alone. Only a quantised model reaches some of the paths: GCC 12 built an AMX path
that died with SIGILL on Q8_0 and worked on F16 (llama.cpp pull request 26954).
"""

from __future__ import annotations

import re
from pathlib import Path

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
from tests.support.vectors import cosine
from tools.catalog import load_models
from tools.fetch import models_dir
from tools.synthetic import ensure_synthetic

_AVX2 = {"sse4_2", "avx", "f16c", "fma", "avx2", "bmi2"}
_AVX512 = _AVX2 | {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}

#: The /proc/cpuinfo flags that each variant needs, from ggml/src/CMakeLists.txt
#: (ggml_add_cpu_backend_variant) and ggml-cpu/arch/x86/cpu-feats.cpp.
VARIANTS: dict[str, set[str]] = {
    "x64": set(),
    "sse42": {"sse4_2"},
    "sandybridge": {"sse4_2", "avx"},
    "ivybridge": {"sse4_2", "avx", "f16c"},
    "piledriver": {"sse4_2", "avx", "f16c", "fma"},
    "haswell": _AVX2,
    "skylakex": _AVX512,
    "cannonlake": _AVX512 | {"avx512vbmi"},
    "cascadelake": _AVX512 | {"avx512_vnni"},
    "icelake": _AVX512 | {"avx512vbmi", "avx512_vnni"},
    "cooperlake": _AVX512 | {"avx512_vnni", "avx512_bf16"},
    "zen4": _AVX512 | {"avx512vbmi", "avx512_vnni", "avx512_bf16"},
    "alderlake": _AVX2 | {"avx_vnni"},
    "sapphirerapids": _AVX512
    | {"avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"},
}

#: Long enough for several rows of every blocked kernel, and one that is no multiple of a block.
LENGTHS = (3, 301)


def host_flags() -> set[str]:
    text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    return set(found.group(1).split()) if found else set()


RUNNABLE = [name for name, flags in VARIANTS.items() if flags <= host_flags()]


def library(variant: str) -> str:
    return f"libggml-cpu-{variant}.so"


def test_the_table_names_the_variants_that_are_shipped(image: str) -> None:
    listing = docker("run", "--rm", "--entrypoint", "/bin/ls", image, "/app")
    shipped = {name for name in listing.split() if name.startswith("libggml-cpu")}
    assert shipped == {library(variant) for variant in VARIANTS}


def test_the_server_picks_a_variant_that_this_host_can_run(image: str) -> None:
    with started(image, options=_options("Q8_0"), arguments=["--verbosity", "4"]) as container:
        wait_for_health(container, "healthy")
        loaded = re.search(r"loaded CPU backend from /app/(\S+)", logs(container))
    assert loaded
    assert loaded.group(1) in {library(variant) for variant in RUNNABLE}


@pytest.mark.parametrize("quantisation", ["Q8_0", "F16"])
@pytest.mark.parametrize("variant", RUNNABLE)
def test_variant_agrees_with_the_reference(variant: str, quantisation: str, image: str) -> None:
    alone = (
        "mkdir /tmp/app && cp -a /app/. /tmp/app/ && cd /tmp/app && rm libggml-cpu-*.so "
        f"&& cp /app/{library(variant)} . && exec ./llama-server --verbosity 4"
    )
    options = [*_options(quantisation), "--tmpfs", "/tmp:exec,mode=1777", "--entrypoint", "/bin/sh"]
    with started(image, options=options, arguments=["-euc", alone]) as container:
        wait_for_health(container, "healthy")
        assert f"loaded CPU backend from /tmp/app/{library(variant)}" in logs(container)
        with Client(base_url(container)) as client:
            for length in LENGTHS:
                tokens = token_array(client, length)
                expected = reference(_weights(quantisation)).embed_tokens(tokens)
                answered = client.embed([tokens])[0]
                assert cosine(answered, expected) >= BARS[quantisation], length


def _weights(quantisation: str) -> Path:
    return ensure_synthetic(models_dir(), load_models().models["nano"], "tiny", quantisation)


def _options(quantisation: str) -> list[str]:
    return with_model(_weights(quantisation))
