"""The attention kernel beside a reference in float64, for each set of instructions that runs here.

softmax(scale * query . key) over the keys that a query may see, times their values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.kernels import (
    INSTRUCTIONS,
    ROUNDING,
    SANITIZE,
    Floats,
    Kernel,
    attention_case,
    compile_kernel,
    compile_mutant,
    need_instructions,
)

#: Where tiles of 64 queries and keys, and vectors of 4, 8 and 16, begin and end.
QUERIES = (1, 2, 3, 5, 8, 15, 16, 17, 33, 63, 64, 65, 70)
KEYS = (1, 3, 63, 64, 65, 130, 512, 1100)
#: Numbers of a head, heads of queries and of keys: nano's (shared one by one) and small's.
HEADS = ((64, 2, 2), (128, 4, 2))

Seen = NDArray[np.bool_]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Queries (heads, n, width), keys and values (kv_heads, keys, width), and what may be seen."""

    query: Floats
    key: Floats
    value: Floats
    seen: Seen
    halves: bool

    @property
    def scale(self) -> float:
        return float(np.float32(self.query.shape[2] ** -0.5))

    def stored(self, numbers: Floats) -> Doubles:
        """Keys or values as the kernel reads them, for each of the queries' heads."""
        kept = numbers.astype(np.float16) if self.halves else numbers
        group = self.query.shape[0] // numbers.shape[0]
        return kept.astype(np.float64).repeat(group, axis=0)


# ------------------------------------------------------------------ cases


def everything(queries: int, keys: int) -> Seen:
    return np.ones((queries, keys), dtype=bool)


def causal(queries: int, keys: int) -> Seen:
    """The queries are the last of the keys' tokens."""
    return np.tri(queries, keys, max(keys - queries, 0), dtype=bool)


def neighbours(queries: int, keys: int) -> Seen:
    """Texts of uneven lengths beside each other: each token sees its own text only."""
    of_key = np.sort(np.random.default_rng(keys).integers(0, 5, keys))
    return of_key[-queries:, None] == of_key[None] if queries <= keys else everything(queries, keys)


def make(  # its arguments are what makes a case hard
    generator: np.random.Generator, shape: tuple[int, int, int], queries: int, seen: Seen, kind: str
) -> Case:
    width, heads, kv_heads = shape
    keys = seen.shape[1]
    query = generator.standard_normal((heads, queries, width))
    key = generator.standard_normal((kv_heads, keys, width))
    value = generator.standard_normal((kv_heads, keys, width))
    match kind:
        case "soft":  # thousands of keys with about the same weight
            query *= 0.02
        case "sharp":
            query *= 8
        case "sink":  # one key takes nearly all of it, and has next to no value
            key[:, 0] = 6 * query[:: heads // kv_heads].mean(axis=1)
            value[:, 0] *= 1e-3
        case "massive":  # a few channels are hundreds of times the rest
            key[:, :, :2] *= 60
            value[:, :, 1] *= 300
    halves = kind != "sharp"
    in_32_bits: list[Floats] = [each.astype(np.float32) for each in (query, key, value)]
    return Case(in_32_bits[0], in_32_bits[1], in_32_bits[2], seen, halves)


def cases() -> Iterator[Case]:
    generator = np.random.default_rng(7)
    kinds = ("plain", "soft", "sharp", "sink", "massive")
    masks = (everything, causal, neighbours)
    for number, queries in enumerate(QUERIES):
        for step, keys in enumerate(KEYS):
            mask = masks[(number + step) % len(masks)]
            kind = kinds[(number + 2 * step) % len(kinds)]
            shape = HEADS[(number + step) % len(HEADS)]
            yield make(generator, shape, queries, mask(queries, keys), kind)
    # small's last micro-batch of a long text: few queries, thousands of keys.
    yield make(generator, HEADS[1], 24, causal(24, 4120), "soft")


# ------------------------------------------------------------------ what must come out


def attend(kernel: Kernel, case: Case) -> Floats:
    """Return the kernel's results, (n, heads, width)."""
    given = attention_case(
        case.query, case.key, case.value, case.seen, scale=case.scale, halves=case.halves
    )
    heads, queries, width = case.query.shape
    return kernel.run(given).reshape(queries, heads, width)


def check_values(kernel: Kernel, case: Case) -> None:
    """Near enough to the reference, by what 32 bits lose.

    A score is a sum of `width` products: off by d = (width + 4) roundings of the sum of their
    magnitudes, and by its own rounding. A weight is then off by a factor of exp(d), less than 1 +
    2d, as is the sum of all weights. Adding up n of them, weighted, loses n + 16 roundings more, a
    power of two's series included. Weights add up to one, so no result is off by more than that
    times the largest value.
    """
    query, key, value = (
        case.query.astype(np.float64),
        case.stored(case.key),
        case.stored(case.value),
    )
    scores = case.scale * np.einsum("hqd,hkd->hqk", query, key)
    sizes = case.scale * np.einsum("hqd,hkd->hqk", np.abs(query), np.abs(key))
    scores = np.where(case.seen, scores, -np.inf)
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights = np.where(case.seen, weights, 0)
    total = weights.sum(axis=2, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    expected = np.einsum("hqk,hkd->qhd", weights, value)

    off = ((query.shape[2] + 4) * ROUNDING * np.where(case.seen, sizes, 0)).max(axis=2)
    lost = 4 * off + 2 * (case.seen.sum(axis=1) + 16)[None] * ROUNDING
    largest = np.abs(np.where(case.seen[None, :, :, None], value[:, None], 0)).max(axis=2)
    room = lost.T[:, :, None] * largest.max(axis=2).T[:, :, None]
    assert (np.abs(attend(kernel, case) - expected) <= room).all()


def check_company(kernel: Kernel, case: Case) -> None:
    """A query's result is the same to the bit alone, and wherever in the cache its keys lie."""
    together = attend(kernel, case)
    for place in {0, case.query.shape[1] // 2, case.query.shape[1] - 1}:
        one = slice(place, place + 1)
        alone = Case(case.query[:, one], case.key, case.value, case.seen[one], case.halves)
        assert attend(kernel, alone).tobytes() == together[one].tobytes()
    for strangers in (1, 31, 64, 100):
        shift = ((0, 0), (strangers, 5), (0, 0))
        moved = Case(
            case.query,
            np.pad(case.key, shift, constant_values=3.0),
            np.pad(case.value, shift, constant_values=-7.0),
            np.pad(case.seen, shift[:2]),
            case.halves,
        )
        assert attend(kernel, moved).tobytes() == together.tobytes()


def check_everything(kernel: Kernel) -> None:
    for case in cases():
        check_values(kernel, case)
    generator = np.random.default_rng(8)
    for shape in HEADS:
        for queries, keys in ((1, 1), (7, 65), (64, 130), (24, 600)):
            seen = causal(queries, keys)
            for kind in ("plain", "sharp", "sink"):
                check_company(kernel, make(generator, shape, queries, seen, kind))
    check_nothing_seen(kernel)


def check_nothing_seen(kernel: Kernel) -> None:
    """A query that may see nothing gets zeros, as upstream's do."""
    case = make(np.random.default_rng(9), HEADS[0], 5, everything(5, 70), "plain")
    case.seen[3] = False
    found = attend(kernel, case)
    assert (found[3] == 0).all()
    assert (found[[0, 1, 2, 4]] != 0).any(axis=2).all()


# ------------------------------------------------------------------ tests


@pytest.mark.parametrize("sanitize", ["", SANITIZE], ids=["plain", "sanitized"])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_values_are_right_and_keep_no_company(
    instructions: str, sanitize: str, source: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    need_instructions(pytestconfig, instructions)
    check_everything(compile_kernel("attention", instructions, source, tmp_path, sanitize))


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("if (seen == view::mixed) {", "if (false) {"),
        ("continue;", ""),
        ("times(floats_at(known.sum + vec * lanes), factor)", "floats_at(known.sum + vec * lanes)"),
        ("most = larger(most, nearest(larger(", "most = larger(most, (larger("),
        ("parameter(dst, 0) * log2_e", "parameter(dst, 0)"),
        ("1.44269504f", "1.442f"),
    ],
    ids=["mask", "closed", "sum", "powers", "base", "digits"],
)
def test_a_wrong_kernel_is_caught(
    what: str, instead: str, source: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    need_instructions(pytestconfig, "avx2")
    kernel = compile_mutant("attention", source, tmp_path, what, instead)
    with pytest.raises(AssertionError):
        check_everything(kernel)
