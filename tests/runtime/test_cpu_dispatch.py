"""Every CPU variant that this host can run boots and agrees with the reference.

llama-server picks the best of the variants it ships. To judge the others, each is put beside
the server alone. Only a quantised model reaches some of the paths: GCC 12 built an AMX path
that died with SIGILL on Q8_0 and worked on F16 (llama.cpp pull request 26954).
"""

from __future__ import annotations

import platform
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
from tests.support.cpu_variants import VARIANTS, library, platform_of_machine, runnable
from tests.support.requirements import need
from tests.support.vectors import cosine
from tools.catalog import load_models
from tools.fetch import models_dir
from tools.synthetic import ensure_synthetic

#: Long enough for several rows of every blocked kernel, and one that is no multiple of a block.
LENGTHS = (3, 301)


#: This machine's platform, and those of its variants that it can run.
HOST = platform_of_machine(platform.machine())
CPUINFO = Path("/proc/cpuinfo")
RUNNABLE = runnable(HOST, CPUINFO.read_text("ascii", "replace") if CPUINFO.is_file() else "")


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
    with started(native, options=_options("Q8_0"), arguments=["--verbosity", "4"]) as container:
        wait_for_health(container, "healthy")
        loaded = re.search(r"loaded CPU backend from /app/(\S+)", logs(container))
    assert loaded
    assert loaded.group(1) in {library(variant) for variant in RUNNABLE}


@pytest.mark.parametrize("quantisation", ["Q8_0", "F16"])
@pytest.mark.parametrize("variant", RUNNABLE)
def test_variant_agrees_with_the_reference(variant: str, quantisation: str, native: str) -> None:
    alone = (
        "mkdir /tmp/app && cp -a /app/. /tmp/app/ && cd /tmp/app && rm libggml-cpu-*.so "
        f"&& cp /app/{library(variant)} . && exec ./llama-server --verbosity 4"
    )
    options = [*_options(quantisation), "--tmpfs", "/tmp:exec,mode=1777", "--entrypoint", "/bin/sh"]
    with started(native, options=options, arguments=["-euc", alone]) as container:
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
