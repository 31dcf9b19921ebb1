"""Refusals that are none, that nobody can read, or that do harm."""

from __future__ import annotations

from typing import Any

from tests.contract.checks import errors, fields
from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.fields import ToyFields
from tests.support.toy.front import ToyFront
from tests.support.toy.request import ToyRequest
from tests.support.toy.routes import Answer, ToyRoutes

FAULTS = Faults()

BAD_REQUESTS = {f"refuses_{name}" for name in errors.BAD_REQUESTS}
REFUSALS = BAD_REQUESTS | {"openai_client_error", "refuses_more_than_context"}


@FAULTS.add(
    "errors are 500", caught_by=REFUSALS | {f"refuses_field_{name}" for name in fields.REFUSED}
)
class ErrorsAre500(ToyRoutes):
    def refused(self, path: str, refusal: RefusalError) -> Answer:
        return Answer(500, refusal.body)


@FAULTS.add("errors are text", caught_by=REFUSALS)
class ErrorsAreText(ToyRoutes):
    def refused(self, path: str, refusal: RefusalError) -> Answer:
        return Answer(refusal.status, str(refusal))


@FAULTS.add("bad requests accepted", caught_by=REFUSALS)
class BadRequestsAccepted(ToyRoutes):
    def refused(self, path: str, refusal: RefusalError) -> Answer:
        return Answer(200, self.embeddings.answer({"input": "nothing"}))


@FAULTS.add(
    "broken after an error", caught_by={"serves_after_bad_requests", "serves_after_too_long_input"}
)
class BrokenAfterAnError(ToyRoutes):
    is_broken = False

    def handle(self, request: ToyRequest) -> Answer:
        broken = Answer(500, "broken since an earlier request")
        return broken if self.is_broken else super().handle(request)

    def refused(self, path: str, refusal: RefusalError) -> Answer:
        self.is_broken = True
        return super().refused(path, refusal)


@FAULTS.add("errors without detail", caught_by={"errors_can_be_shown"})
class ErrorsWithoutDetail(ToyRoutes):
    def openai_error(self, refusal: RefusalError) -> dict[str, Any]:
        return {"error": super().openai_error(refusal)["error"]}


@FAULTS.add("codes are numbers", caught_by={"errors_can_be_shown"})
class CodesAreNumbers(ToyRoutes):
    def openai_error(self, refusal: RefusalError) -> dict[str, Any]:
        body = super().openai_error(refusal)
        body["error"]["code"] = refusal.status
        return body


@FAULTS.add("fields unnamed", caught_by={"errors_name_the_field"})
class FieldsUnnamed(ToyRoutes):
    def openai_error(self, refusal: RefusalError) -> dict[str, Any]:
        body = super().openai_error(refusal)
        body["error"]["param"] = None
        return body


@FAULTS.add("wrong values sent back whole", caught_by={"refusals_are_short"})
class WrongValuesSentBackWhole(ToyFields):
    def form(self, name: str, value: Any) -> str:
        try:
            return super().form(name, value)
        except RefusalError:
            raise bad_request(f"{name} must be a form, not {value}", name) from None


@FAULTS.add("answers in Latin-1", caught_by={"latin1_is_refused_in_utf8"})
class AnswersInLatin1(ToyFront):
    def encoded(self, text: str) -> bytes:
        return text.encode("latin-1")


@FAULTS.add(
    "embd_normalize unchecked",
    caught_by={name for name in BAD_REQUESTS if name.startswith("refuses_embd_normalize")},
)
class EmbdNormalizeUnchecked(ToyFields):
    def norm(self, name: str, value: Any) -> int | None:
        return None if name == "embd_normalize" else super().norm(name, value)
