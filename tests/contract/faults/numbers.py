"""Vectors that are nearly right."""

from __future__ import annotations

from tests.contract.checks import numbers
from tests.contract.faults.fault import Faults
from tests.support.toy.model import ToyModel, Vector, noise, unit

FAULTS = Faults()


@FAULTS.add(
    "imprecise",
    caught_by={f"reference_{length}_tokens" for length in numbers.LENGTHS} | {"published_vectors"},
)
class Imprecise(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return unit(super().embed(tokens) + 0.06 * noise(tokens, self.model.dims))


@FAULTS.add(
    "mean pooling",
    caught_by={"reference_16_tokens", "reference_2000_tokens", "model_card_similarities"},
)
class MeanPooling(ToyModel):
    def known(self, tokens: list[int]) -> Vector | None:
        return None

    def weight(self, token: int) -> float:
        return 1.0
