"""The sum of squares of a norm beside an exact one, for each set of instructions that runs here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.kernels import INSTRUCTIONS, SANITIZE, Floats, compile_kernel, need_instructions

#: Around the sixteen sums, and what the models have: heads of 128, rows of 768 and 1024.
LENGTHS = (0, 1, 15, 16, 17, 31, 33, 128, 768, 1024)


def rows() -> list[Floats]:
    """Rows of each length: ordinary numbers, and some that are a million times the others."""
    generator = np.random.default_rng(0)
    ordinary = [generator.standard_normal(length).astype(np.float32) for length in LENGTHS]
    massive = [row * np.where(generator.random(len(row)) < 0.05, 1e6, 1) for row in ordinary]
    return [*ordinary, *(row.astype(np.float32) for row in massive)]


def sums(
    source: Path, folder: Path, instructions: str, cases: Sequence[Floats]
) -> NDArray[np.float64]:
    kernel = compile_kernel("norm", instructions, source, folder, SANITIZE)
    sent = b"".join(np.int64(len(row)).tobytes() + row.tobytes() for row in cases)
    return kernel.run(sent).view(np.float64)


@pytest.fixture(scope="module")
def plain(source: Path, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    """The sums without any instructions of vectors but those that each x86-64 has."""
    return sums(source, tmp_path_factory.mktemp("norm"), "sse2", rows())


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_sums_are_right_and_the_same_on_every_cpu(
    instructions: str,
    source: Path,
    plain: NDArray[np.float64],
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    need_instructions(pytestconfig, instructions)
    found = sums(source, tmp_path, instructions, rows())
    assert found.tobytes() == plain.tobytes()
    for row, each in zip(rows(), found, strict=True):
        exact = math.fsum(float(square) for square in row * row)  # squares have 32 bits, as ggml's
        # No number goes through more additions than it has after it in its own sum, the sixteen
        # sums and the rest; each rounds by 2^-53 of what is at most the whole.
        additions = len(row) // 16 + 16 + len(row) % 16
        assert abs(each - exact) <= additions * 2.0**-53 * exact


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_stays_in_the_sum(number: float, source: Path, tmp_path: Path) -> None:
    cases = []
    for place in (0, 17, 31, 32):
        row = np.ones(33, dtype=np.float32)
        row[place] = number
        cases.append(row)
    assert not np.isfinite(sums(source, tmp_path, "sse2", cases)).any()
