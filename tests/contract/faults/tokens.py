"""Texts that become other tokens than they should."""

from __future__ import annotations

from tests.contract.faults.fault import Faults
from tests.support.toy.model import ToyModel

FAULTS = Faults()


# Only the tokenizer of small composes.
@FAULTS.add("decomposed texts kept", caught_by={"normal_form"}, model="small")
class DecomposedTextsKept(ToyModel):
    def composes(self) -> bool:
        return False


@FAULTS.add("every text composed", caught_by={"normal_form"})
class EveryTextComposed(ToyModel):
    def composes(self) -> bool:
        return True


@FAULTS.add("look-alikes are control tokens", caught_by={"look_alikes_are_text"})
class LookAlikesAreControlTokens(ToyModel):
    def tokens(self, text: str) -> list[int]:
        return super().tokens(text.replace("</s>", "\0"))
