"""Which of the waiting inputs are computed together, and how they are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: What one forward pass on a CPU may hold, in tokens, padding included; a longer input goes alone.
#: Chosen, not tuned.
MOST_TOKENS = 4096
#: Inputs are computed together where the shortest has at least this share of the longest.
ALIKE = 0.75

Vectors = NDArray[np.float32]


class Runner(Protocol):
    """A loaded model."""

    def embed(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        """Return a unit vector for each array of tokens."""


def choose(lengths: Sequence[int], most_tokens: int = MOST_TOKENS) -> list[int]:
    """Return the places of those waiting inputs that are computed next.

    The one that has waited longest is always among them, and with it those of about its length,
    in the order in which they came.
    """
    chosen = [0]
    shortest = longest = lengths[0]
    for place, length in enumerate(lengths[1:], 1):
        low, high = min(shortest, length), max(longest, length)
        if low >= ALIKE * high and (len(chosen) + 1) * high <= most_tokens:
            chosen.append(place)
            shortest, longest = low, high
    return chosen


def pad(inputs: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return inputs as one array, padded with zeros, and the place of each input's last token.

    What stands behind a last token must not be seen by those before it.
    """
    last = np.array([len(each) - 1 for each in inputs], dtype=np.int64)
    tokens = np.zeros((len(inputs), int(last.max()) + 1), dtype=np.int64)
    for row, each in zip(tokens, inputs, strict=True):
        row[: len(each)] = each
    return tokens, last
