"""Cohere's routes in another form than Cohere's, or with other vectors than were asked for."""

from __future__ import annotations

from typing import Any

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError
from tests.support.toy.cohere import ToyCohere

FAULTS = Faults()


@FAULTS.add("Cohere in its first form", caught_by={"cohere_embeds", "cohere_sizes"})
class CohereInItsFirstForm(ToyCohere):
    def answer(self, version: str, body: bytes) -> dict[str, Any]:
        answer = super().answer(version, body)
        if answer["response_type"] == "embeddings_by_type":
            answer["embeddings"] = next(iter(answer["embeddings"].values()))
        return answer


@FAULTS.add("Cohere in its second form only", caught_by={"cohere_first_version"})
class CohereInItsSecondFormOnly(ToyCohere):
    def answer(self, version: str, body: bytes) -> dict[str, Any]:
        return super().answer("2", body)


@FAULTS.add("Cohere's cuts unsaid", caught_by={"cohere_cuts"})
class CoheresCutsUnsaid(ToyCohere):
    def warnings(self, cut: list[bool]) -> dict[str, list[str]]:
        return {}


@FAULTS.add("Cohere's errors in OpenAI's form", caught_by={"cohere_errors"})
class CoheresErrorsInOpenAIsForm(ToyCohere):
    def error(self, refusal: RefusalError) -> dict[str, Any]:
        return refusal.body


@FAULTS.add("Cohere's texts need no side", caught_by={"cohere_errors"})
class CoheresTextsNeedNoSide(ToyCohere):
    def check_side(self, request: dict[str, Any]) -> None:
        """Take them as they are."""
