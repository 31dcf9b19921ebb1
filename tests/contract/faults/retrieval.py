"""Vectors that find nothing, or not by a prefix or a few numbers alone."""

from __future__ import annotations

import numpy as np

from tests.contract.faults.fault import Faults
from tests.support.toy.model import ToyModel, Vector, noise, tokenize, unit

FAULTS = Faults()


@FAULTS.add("prefix blind", caught_by={"prefix_asymmetry", "prefixes_help"})
class PrefixBlind(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        has_prefix = tokens[0] in tokenize("Query Document")
        return super().embed(tokens[3:] if has_prefix else tokens)


@FAULTS.add("leading numbers meaningless", caught_by={"matryoshka"})
class LeadingNumbersMeaningless(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        leading = noise(tokens, self.model.dims)[:32]
        return unit(np.concatenate([leading, super().embed(tokens)[32:]]))


@FAULTS.add(
    "retrieval broken",
    caught_by={
        "lexical_searches",
        "searches",
        "model_card_similarities",
        "elasticsearch_9.0_classic",
    },
)
class RetrievalBroken(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return unit(noise(tokens, self.model.dims))
