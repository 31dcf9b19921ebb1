"""Which variants of the kernels a CPU can run."""

from __future__ import annotations

import pytest

from tests.support.cpu_variants import TILES, VARIANTS, platform_of_machine, runnable
from tools.facts.images import load_images

#: As /proc/cpuinfo says it on a Raspberry Pi 3, and on a Neoverse V1 (AWS Graviton3).
OLD_ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU part\t: 0xd03\n"
NEW_ARM = (
    "processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm "
    "asimddp sve asimdfhm bf16 i8mm\nCPU part\t: 0xd40\n"
)
HASWELL = "flags\t\t: fpu sse4_2 avx f16c fma avx2 bmi2\nbugs\t\t: mds\n"


def test_every_platform_of_the_catalogue_has_a_table() -> None:
    images = load_images().images.values()
    assert {platform for image in images for platform in image.platforms} <= set(VARIANTS)


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "best"),
    [
        ("aarch64", OLD_ARM, "armv8.0_1"),
        ("arm64", NEW_ARM, "armv8.6_1"),
        ("x86_64", HASWELL, "haswell"),
    ],
)
def test_a_cpu_runs_what_its_features_allow(machine: str, cpuinfo: str, best: str) -> None:
    table = list(VARIANTS[platform_of_machine(machine)])
    assert runnable(platform_of_machine(machine), cpuinfo) == table[: table.index(best) + 1]


def test_a_cpu_runs_more_where_what_it_lacks_is_emulated() -> None:
    needed = VARIANTS["linux/amd64"]["sapphirerapids"]
    cpuinfo = f"flags\t\t: {' '.join(sorted(needed - TILES))}\n"
    assert "sapphirerapids" not in runnable("linux/amd64", cpuinfo)
    assert "sapphirerapids" in runnable("linux/amd64", cpuinfo, emulated=TILES)
    assert "sapphirerapids" not in runnable("linux/amd64", HASWELL, emulated=TILES)


def test_of_an_unknown_machine_nothing_is_known() -> None:
    assert runnable(platform_of_machine("riscv64"), HASWELL) == []
