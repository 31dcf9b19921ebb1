"""The demo compiles one variant of the kernels only where this machine's CPU can run it."""

from __future__ import annotations

import pytest

from tools.serving.demo import runs_one_variant

HASWELL = "flags\t\t: fpu sse4_2 fma movbe f16c avx bmi1 avx2 bmi2 erms\n"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "runs"),
    [
        ("x86_64", HASWELL, True),
        ("x86_64", HASWELL.replace(" avx2 ", " "), False),
        ("x86_64", "", False),
        ("aarch64", "Features\t: fp asimd\n", True),
    ],
)
def test_which_machines_run_the_one_variant(machine: str, cpuinfo: str, runs: bool) -> None:
    assert runs_one_variant(machine, cpuinfo) is runs
