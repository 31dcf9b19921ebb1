"""Medians with their spread, and percentiles that are only given where there is data for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A median with the 95 % confidence interval around it."""

    median: float
    low: float
    high: float


def median_spread(values: Sequence[float]) -> Spread:
    """Return the median of independent values and its 95 % interval, which needs no model.

    The number of values under the true median is binomial(n, 1/2), so the order statistics
    1.96 sqrt(n) / 2 places to each side of the middle enclose it in 95 of 100 cases (Conover,
    Practical Nonparametric Statistics, 3.2; normal approximation). Of fewer than six values no
    interval can promise as much; it is then all of them.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    reach = 1.96 * math.sqrt(count) / 2
    low = max(0, math.floor(count / 2 - reach) - 1)
    high = min(count - 1, math.ceil(count / 2 + reach))
    return Spread(float(np.median(ordered)), float(ordered[low]), float(ordered[high]))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return how many times as large our values are, round by round."""
    return median_spread([a / b for a, b in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that ``percent`` of 100 values do not exceed (nearest rank).

    None where there are too few values for one to lie above it: the largest of 30 says nothing
    of the slowest in a hundred.
    """
    count = len(values)
    rank = math.ceil(count * percent / 100)
    if rank == 0 or (percent > 50 and rank == count):
        return None
    return sorted(values)[rank - 1]
