"""Routes of text-embeddings-inference in another form than its own."""

from __future__ import annotations

from typing import Any

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError
from tests.support.toy.identity import ToyIdentity
from tests.support.toy.routes import Answer, ToyRoutes

FAULTS = Faults()


@FAULTS.add("TEI in OpenAI's form", caught_by={"tei_embeds", "tei_embeds_sides_and_sizes"})
class TeiInOpenAIsForm(ToyRoutes):
    def tei_form(self, answer: dict[str, Any]) -> dict[str, Any] | list[Any]:
        return answer


@FAULTS.add("TEI's errors in OpenAI's form", caught_by={"tei_errors"})
class TeiErrorsInOpenAIsForm(ToyRoutes):
    def tei_refusal(self, refusal: RefusalError) -> Answer:
        return self.openai_refusal(refusal)


@FAULTS.add("prompts compared by none", caught_by={"tei_similarity"})
class PromptsComparedByNone(ToyRoutes):
    def compared(self, texts: list[str], parameters: dict[str, Any]) -> list[Any]:
        return super().compared(texts, {})


@FAULTS.add("anything compared", caught_by={"tei_similarity_errors"})
class AnythingCompared(ToyRoutes):
    def similarity(self, request: dict[str, Any]) -> list[Any]:
        return [1.0]


@FAULTS.add("limits unsaid", caught_by={"tei_info"})
class LimitsUnsaid(ToyIdentity):
    def info(self) -> dict[str, Any]:
        return super().info() | {"max_input_length": 512}
