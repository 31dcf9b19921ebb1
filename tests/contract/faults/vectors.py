"""Vectors that are no good, or not those of their own texts."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tests.contract.faults.fault import Faults
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.model import ToyModel, Vector, unit

FAULTS = Faults()


@FAULTS.add("wrong dims", caught_by={"dims", "fields", "serves_1_tokens"})
class WrongDims(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return unit(super().embed(tokens)[: self.model.dims // 2])


@FAULTS.add("unnormalised", caught_by={"unit_norm", "elasticsearch_8.15_classic"})
class Unnormalised(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return 2.0 * super().embed(tokens)


@FAULTS.add("constant", caught_by={"distinct", "concurrent_clients", "prefix_asymmetry"})
class Constant(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return unit(np.ones(self.model.dims))


@FAULTS.add("zeros", caught_by={"finite", "unit_norm"})
class Zeros(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return np.zeros(self.model.dims)


@FAULTS.add("nan", caught_by={"finite", "fields"})
class NaN(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return np.full(self.model.dims, np.nan)


@FAULTS.add("not deterministic", caught_by={"deterministic", "base64_equals_float"})
class NotDeterministic(ToyModel):
    chance = np.random.default_rng(0)

    def embed(self, tokens: list[int]) -> Vector:
        aside = unit(self.chance.standard_normal(self.model.dims))
        return unit(super().embed(tokens) + 0.1 * aside)


@FAULTS.add("neighbours in a batch mix", caught_by={"batch_equals_single", "batch_64_in_order"})
class NeighboursMix(ToyEmbeddings):
    def batch(self, vectors: list[Vector]) -> list[Vector]:
        return [unit(vector + 0.3 * np.mean(vectors, axis=0)) for vector in vectors]


@FAULTS.add("concurrent answers swapped", caught_by={"concurrent_clients"})
class ConcurrentAnswersSwapped(ToyEmbeddings):
    """Answers with the vectors of the next request to arrive, if one comes while this one waits."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.arrived: list[list[Vector]] = []
        self.arrival = threading.Condition()

    def batch(self, vectors: list[Vector]) -> list[Vector]:
        with self.arrival:
            mine = len(self.arrived)
            self.arrived.append(vectors)
            self.arrival.notify_all()
            self.arrival.wait_for(lambda: len(self.arrived) > mine + 1, timeout=0.1)
            return self.arrived[min(mine + 1, len(self.arrived) - 1)]
