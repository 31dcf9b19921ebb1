"""The reference with what ggml rounds on purpose: what the server would say if it rounded no more.

ggml rounds the inputs of a product with the weights to what the weights' quantisation asks for: 16
bits where they are F16, and for Q8_0 whole numbers from -127 to 127 for each 32 of them. Keys and
values are kept in 16 bits. All else is float64 here and float32 there.

That rest decides now and then which way a number is rounded, and so moves a vector by more than
float32's own precision. How far is found by trial: ``Noisy`` adds noise to the result of every
operation, as much as float32 may lose there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from tests.support.reference import Array, Reference
from tests.support.vectors import Vectors, cosine

BLOCK = 32
#: Half a unit in the last place of 1.0 in 32 bits: the relative error of one rounding.
ROUNDING = 2.0**-24
#: A sum of n products in float32 is off by less than this times the square root of n roundings of
#: the sum of their magnitudes, but for a chance of 7e-4: 2 exp(-4^2 / 2) (Higham and Mary 2019,
#: "A new approach to probabilistic rounding error analysis"). Kernels sum in parts, and lose less.
CONFIDENCE = 4
#: A norm, and what takes no sum: a few roundings.
FEW = 4


#: Twice an angle is four times its 1 - cosine.
TWICE = 4
NOISE_SEED = 1


def in_16_bits(x: Array) -> Array:
    """Round to F16; what is larger than 65504 becomes infinite."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float64)


def in_eighths(x: Array) -> Array:
    """Round each 32 numbers to multiples of their largest magnitude / 127."""
    blocks = x.reshape(*x.shape[:-1], -1, BLOCK)
    unit = np.abs(blocks).max(axis=-1, keepdims=True) / 127
    # Where even the unit is nothing in float64, so are the numbers.
    whole = np.rint(np.divide(blocks, unit, out=np.zeros_like(blocks), where=unit > 0))
    rounded: Array = (whole * unit).reshape(x.shape)
    return rounded


class Rounded(Reference):
    """A model, computed in float64 but for what ggml rounds on purpose."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._weights: dict[str, Any] = {
            name: weights.astype(np.float64) for name, weights in self._weights.items()
        }

    def _token_embeddings(self, token_ids: Any) -> Array:
        return super()._token_embeddings(token_ids).astype(np.float64)

    def _rounded(self, x: Array, weight: str) -> Array:
        """Return a product's inputs as ggml rounds them for these weights."""
        kind = self._tensors[weight].tensor_type
        if kind == GGMLQuantizationType.F16:
            return in_16_bits(x)
        if kind == GGMLQuantizationType.Q8_0:
            return in_eighths(x)
        raise ValueError(f"{weight}: how {kind.name} rounds inputs is not written down here")

    def _times(self, x: Array, weight: str) -> Array:
        return super()._times(self._rounded(x, weight), weight)

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        return super()._attend(q, in_16_bits(k), in_16_bits(v), causal)


class Noisy(Rounded):
    """The same, and every result is off by as much as float32 may lose, drawn by a seed."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(path)
        self._generator = np.random.default_rng(seed)

    def _off(self, x: Array, size: Array) -> Array:
        """Return x, each number off by at most ``size``."""
        noise = self._generator.random(x.shape, dtype=np.float32) * 2 - 1
        off: Array = x + noise * size
        return off

    def _times(self, x: Array, weight: str) -> Array:
        sizes = np.abs(x) @ np.abs(self._weights[weight]).T
        return self._off(super()._times(x, weight), _lost(x.shape[-1]) * sizes)

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        # A query's noise makes that of its scores: the root of the sum of its squares is the same.
        q = self._off(q, _lost(q.shape[-1]) * _length(q)[:, np.newaxis])
        sizes = super()._attend(q, k, np.abs(v), causal)
        return self._off(super()._attend(q, k, v, causal), _lost(len(k)) * sizes)

    def _norm(self, x: Array, weight: str) -> Array:
        normed = super()._norm(x, weight)
        return self._off(normed, FEW * ROUNDING * np.abs(normed))

    def _angles(self, tokens: int, base: float) -> Array:
        """Each pair's angle is that of the pair before, times one factor that is rounded."""
        angles = super()._angles(tokens, base)
        roundings = 2 * np.arange(1, angles.shape[1] + 1)
        return angles * self._off(np.ones(angles.shape[1]), roundings * ROUNDING)


def _length(x: Array) -> Array:
    """Return the Euclidean length of each row."""
    lengths: Array = np.linalg.norm(x, axis=-1)
    return lengths


def _lost(terms: int) -> float:
    """Return what a sum of so many products may lose, relative to that of their magnitudes."""
    return float(CONFIDENCE * np.sqrt(terms) * ROUNDING)


# ------------------------------------------------------------------ how far off a server may be


@dataclass(frozen=True)
class Bars:
    """Where the vectors of some inputs belong, and how far off any of them may be (1 - cosine).

    No bar fits all weights: a steep network makes 1e-3 of one rounding, a gentle one hides an error
    of 1e-4. So these are found by the file's own weights, and there are two.

    To exact arithmetic: what ggml rounds on purpose costs most in one of the inputs, and twice the
    angle of that is the bar. To what is rounded on purpose: the same with what the noise costs. It
    is larger than what float32 may be expected to lose. But whether a number near the middle of two
    steps is rounded up or down is chance, and changes every number behind it. So the worst of so
    few inputs is doubled.
    """

    exact: Vectors
    rounded: Vectors
    to_exact: float
    to_rounded: float


def find_bars(file: Path, inputs: Sequence[Sequence[int]]) -> Bars:
    """Compute where the vectors of these inputs belong, thrice."""
    exact = embed(Reference(file), inputs)
    rounded = embed(Rounded(file), inputs)
    noisy = embed(Noisy(file, NOISE_SEED), inputs)
    to_exact, to_rounded = apart(rounded, exact).max(), apart(noisy, rounded).max()
    return Bars(exact, rounded, TWICE * float(to_exact), TWICE * float(to_rounded))


def embed(reference: Reference, inputs: Sequence[Sequence[int]]) -> Vectors:
    """Return the vectors of several inputs, each alone."""
    return np.array([reference.embed_tokens(tokens) for tokens in inputs], dtype=np.float64)


def apart(vectors: Any, others: Any) -> Vectors:
    """Return the 1 - cosine of each vector to the other at its place."""
    found: Vectors = 1 - cosine(vectors, others)
    return found
