"""The variants of its kernels that the image for each platform ships, and what each needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import cache
from pathlib import Path

_AVX2 = {"sse4_2", "avx", "f16c", "fma", "avx2", "bmi2"}
_AVX512 = _AVX2 | {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}
_SVE = {"asimddp", "fphp", "sve"}
#: Intel's AMX: registers that are tiles of a matrix, and what multiplies them.
TILES = {"amx_tile", "amx_int8"}

#: For each platform, by the variant's name, the features in /proc/cpuinfo that it needs: from
#: ggml/src/CMakeLists.txt (ggml_add_cpu_backend_variant), and from cpu-feats.cpp in
#: ggml-cpu/arch/x86 and ggml-cpu/arch/arm.
VARIANTS: Mapping[str, Mapping[str, set[str]]] = {
    "linux/amd64": {
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
        "sapphirerapids": _AVX512 | {"avx512vbmi", "avx512_vnni", "avx512_bf16"} | TILES,
    },
    "linux/arm64": {
        "armv8.0_1": set(),
        "armv8.2_1": {"asimddp"},
        "armv8.2_2": {"asimddp", "fphp"},
        "armv8.2_3": _SVE,
        "armv8.6_1": _SVE | {"i8mm"},
        "armv8.6_2": _SVE | {"i8mm", "sve2"},
        "armv9.2_1": _SVE | {"i8mm", "sme"},
        "armv9.2_2": _SVE | {"i8mm", "sve2", "sme"},
    },
}

#: What Python's platform.machine() calls the CPUs of these platforms, here and on a Mac.
_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}


def platform_of_machine(machine: str) -> str:
    """Return the platform of a machine that platform.machine() names; empty for an unknown one."""
    return _MACHINES.get(machine, "")


@cache
def cpu_features() -> frozenset[str]:
    """Return what this machine's CPU can do, as Linux names it, among the other words there."""
    return frozenset(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())


def runnable(platform: str, cpuinfo: str, emulated: Set[str] = frozenset()) -> list[str]:
    """Return the platform's variants that a CPU can run, from the text of its /proc/cpuinfo.

    ``emulated`` are features that it need not have.
    """
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", cpuinfo, re.MULTILINE)
    features = {*(found.group(1).split() if found else ()), *emulated}
    return [name for name, needed in VARIANTS.get(platform, {}).items() if needed <= features]


def multiplies_q8(variant: str) -> bool:
    """Tell whether a variant multiplies Q8_0 by images/patches/0007-q8.patch.

    Where there is AMX, upstream's kernel for that comes first.
    """
    needs = VARIANTS["linux/amd64"].get(variant, set())
    return needs >= _AVX2 and "amx_int8" not in needs


def library(variant: str) -> str:
    """Return the name of a variant's file in the image."""
    return f"libggml-cpu-{variant}.so"
