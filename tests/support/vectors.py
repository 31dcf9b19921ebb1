"""Vector maths for judging embeddings: rows are vectors, all of it in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float64]


def normalise(vectors: ArrayLike) -> Vectors:
    """Scale each row to length 1."""
    rows = np.asarray(vectors, dtype=np.float64)
    lengths: Vectors = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / lengths


def truncate(vectors: ArrayLike, dims: int) -> Vectors:
    """Keep the first ``dims`` numbers of each row and scale it to length 1 again."""
    return normalise(np.asarray(vectors)[..., :dims])


def cosine(first: ArrayLike, second: ArrayLike) -> Vectors:
    """Return the cosine of each row of ``first`` with the same row of ``second``."""
    products: Vectors = np.sum(normalise(first) * normalise(second), axis=-1)
    return products


def cosines(queries: ArrayLike, documents: ArrayLike) -> Vectors:
    """Return the cosine of every query (a row of the answer) with every document (a column)."""
    return normalise(queries) @ normalise(documents).T


def nearest(queries: ArrayLike, documents: ArrayLike) -> list[int]:
    """Return, for each query, the number of the document with the highest cosine."""
    return [int(best) for best in cosines(queries, documents).argmax(axis=1)]


def margins(queries: ArrayLike, documents: ArrayLike, right: list[int]) -> Vectors:
    """Return, for each query, how far its right document leads the best wrong one."""
    table = cosines(queries, documents)
    rows = np.arange(len(right))
    found = table[rows, right].copy()
    table[rows, right] = -np.inf
    best_wrong: Vectors = table.max(axis=1)
    return found - best_wrong
