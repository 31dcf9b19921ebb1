"""What is not the model that it says it is."""

from __future__ import annotations

from tests.contract.faults.fault import Faults
from tests.support.toy.model import ToyModel

FAULTS = Faults()


@FAULTS.add("another tokenizer", caught_by={"published_tokens"})
class AnotherTokenizer(ToyModel):
    def tokens(self, text: str) -> list[int]:
        return self.own_tokens(text)
