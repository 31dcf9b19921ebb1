"""The Q8_0 kernel beside a reference in float64, for each set of instructions that runs here.

What the kernel computes: each 32 numbers of an input become whole ones from -127 to 127 times the
largest magnitude / 127; their products with the weights' whole numbers are exact; each 32's sum,
times both scales, is added to the row's in 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.kernels import (
    ROUNDING,
    SANITIZE,
    Floats,
    Kernel,
    compile_kernel,
    compile_mutant,
    need_instructions,
    q8_case,
)

#: Those that have the kernel at all; upstream's multiplies on others.
INSTRUCTIONS = ("avx2", "avx-vnni", "avx512-vnni")
BLOCK = 32
#: A block in Q8_0 (ggml-common.h, block_q8_0).
Q8_0 = np.dtype([("scale", np.float16), ("numbers", np.int8, BLOCK)])
#: Numbers of inputs around each width of the kernel's tiles (2, 3 and 6 at a time).
COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 33)
#: Rows and blocks in a row: an odd number of groups of rows, one block, the models' own widths.
SHAPES = ((16, 1), (48, 2), (32, 24), (80, 32), (16, 96))

Generator = np.random.Generator
Blocks = NDArray[np.void]


# ------------------------------------------------------------------ cases


def random_weights(generator: Generator, rows: int, blocks: int) -> Blocks:
    made = np.zeros((rows, blocks), dtype=Q8_0)
    made["scale"] = np.exp(generator.uniform(np.log(1e-4), np.log(30), (rows, blocks)))
    made["numbers"] = generator.integers(-127, 128, (rows, blocks, BLOCK))
    return made


def hurtful_weights(generator: Generator, rows: int, blocks: int) -> Blocks:
    """Saturated blocks, of which sums of two products do not fit 16 bits, and empty ones."""
    made = random_weights(generator, rows, blocks)
    kinds = np.array([[127] * BLOCK, [-128] * BLOCK, [0] * BLOCK, [-128, 127] * (BLOCK // 2)])
    made["numbers"] = kinds[generator.integers(0, len(kinds), (rows, blocks))]
    return made


def gaussian(generator: Generator, count: int, width: int) -> Floats:
    return generator.standard_normal((count, width)).astype(np.float32)


def massive(generator: Generator, count: int, width: int) -> Floats:
    """A few channels are a thousand times the rest, as in trained models (Sun et al. 2024)."""
    made = gaussian(generator, count, width)
    made[:, generator.integers(0, width, 2)] *= 1000
    return made


def heavy_tails(generator: Generator, count: int, width: int) -> Floats:
    return generator.standard_cauchy((count, width)).astype(np.float32)


def one_giant(generator: Generator, count: int, width: int) -> Floats:
    """All of a block but one number is rounded to zero; the first block is zeros."""
    made = gaussian(generator, count, width)
    made[:, BLOCK - 1 :: BLOCK] = 3e30
    made[:, :BLOCK] = 0
    return made


def saturated(generator: Generator, count: int, width: int) -> Floats:
    """Every number is its block's largest: whole numbers of 127 and -127 alone."""
    signs = generator.choice([-1, 1], (count, width))
    scales = np.exp(generator.uniform(-3, 3, (count, width // BLOCK))).repeat(BLOCK, axis=1)
    made: Floats = (signs * scales).astype(np.float32)
    return made


INPUTS: tuple[Callable[[Generator, int, int], Floats], ...] = (
    gaussian,
    massive,
    heavy_tails,
    one_giant,
    saturated,
)


# ------------------------------------------------------------------ what must come out


def multiply(kernel: Kernel, weights: Blocks, inputs: Floats) -> Floats:
    found = kernel.run(q8_case(weights.view(np.uint8), len(weights), inputs))
    return found.reshape(len(inputs), len(weights))


def check_products(kernel: Kernel, weights: Blocks, inputs: Floats) -> None:
    blocks = weights.shape[1]
    split = inputs.reshape(len(inputs), blocks, BLOCK)
    largest = np.abs(split).max(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(largest == 0, 0, np.float32(127) / largest).astype(np.float32)
    whole = np.rint(split * factor).astype(np.int64)
    scale = (largest[..., 0] / np.float32(127)).astype(np.float64)

    sums = np.einsum("cbi,rbi->crb", whole, weights["numbers"].astype(np.int64))
    terms = sums * scale[:, None, :] * weights["scale"].astype(np.float64)[None]
    found = multiply(kernel, weights, inputs).astype(np.float64)
    # One rounding for the two scales' product, one for each addition; no sum of a row on the way is
    # larger than that of the terms' magnitudes.
    size = np.abs(terms).sum(axis=2)
    assert (np.abs(found - terms.sum(axis=2)) <= (blocks + 2) * ROUNDING * size).all()

    # And the numbers themselves: each is at most half a unit, largest / 127, from what was given.
    real = weights["numbers"] * weights["scale"].astype(np.float64)[..., None]
    exact = np.einsum("cbi,rbi->cr", split.astype(np.float64), real)
    # 127 / largest, and the number times that, are each rounded to 24 bits before it is made whole.
    unit = scale * (0.5 + 2 * 127 * ROUNDING)
    room = np.einsum("cb,rb->cr", unit, np.abs(real).sum(axis=2))
    assert (np.abs(found - exact) <= room + (blocks + 2) * ROUNDING * size).all()


def check_company(kernel: Kernel, weights: Blocks, inputs: Floats) -> None:
    """An input's numbers are the same beside any others, to the bit."""
    together = multiply(kernel, weights, inputs)
    for place in {0, len(inputs) // 2, len(inputs) - 1}:
        alone = multiply(kernel, weights, inputs[place : place + 1])
        assert alone.tobytes() == together[place : place + 1].tobytes()


def check_everything(kernel: Kernel) -> None:
    generator = np.random.default_rng(18)
    for rows, blocks in SHAPES:
        for make in (random_weights, hurtful_weights):
            weights = make(generator, rows, blocks)
            for number, given in enumerate(INPUTS):
                count = COUNTS[(number + rows + blocks) % len(COUNTS)]
                check_products(kernel, weights, given(generator, count, blocks * BLOCK))
    weights = random_weights(generator, 48, 4)
    for count in COUNTS:
        inputs = gaussian(generator, count, 4 * BLOCK)
        check_products(kernel, weights, inputs)
        check_company(kernel, weights, inputs)
    check_what_is_no_number(kernel)
    check_next_to_nothing(kernel)


def check_what_is_no_number(kernel: Kernel) -> None:
    """It is not lost, and no other input sees it."""
    generator = np.random.default_rng(5)
    weights = random_weights(generator, 16, 3)
    for wrong in (np.nan, -np.nan, np.inf, -np.inf):
        inputs = gaussian(generator, 7, 3 * BLOCK)
        good = multiply(kernel, weights, inputs)
        inputs[3, 40] = wrong
        found = multiply(kernel, weights, inputs)
        assert not np.isfinite(found[3]).any()
        others = [0, 1, 2, 4, 5, 6]
        assert found[others].tobytes() == good[others].tobytes()


def check_next_to_nothing(kernel: Kernel) -> None:
    """Numbers so small that 127 divided by them is infinite add nothing, and make no noise."""
    generator = np.random.default_rng(6)
    weights = random_weights(generator, 16, 1)
    inputs = (generator.uniform(-1, 1, (5, BLOCK)) * 3e-37).astype(np.float32)
    found = multiply(kernel, weights, inputs)
    real = weights["numbers"] * weights["scale"].astype(np.float64)[..., None]
    assert (np.abs(found) <= 3e-37 * np.abs(real).sum(axis=(1, 2))).all()


# ------------------------------------------------------------------ tests


@pytest.mark.parametrize("sanitize", ["", SANITIZE], ids=["plain", "sanitized"])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_products_are_right_and_keep_no_company(
    instructions: str, sanitize: str, source: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    need_instructions(pytestconfig, instructions)
    check_everything(compile_kernel("q8", instructions, source, tmp_path, sanitize))


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("127.0f / amax;", "126.0f / amax;"),
        ("amax / 127.0f;", "amax / 128.0f;"),
        ("amax < least_amax ? 0.0f : ", ""),
        ("-128u * ", "-127u * "),
        ("most = larger(most, bits(magnitude(", "most = larger(most, bits(("),
    ],
    ids=["scale", "unit", "tiny", "correction", "sign"],
)
def test_a_wrong_kernel_is_caught(
    what: str, instead: str, source: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    need_instructions(pytestconfig, "avx2")
    kernel = compile_mutant("q8", source, tmp_path, what, instead)
    with pytest.raises(AssertionError):
        check_everything(kernel)
