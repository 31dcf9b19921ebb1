"""Inputs that are too long for a server, or that it thinks are."""

from __future__ import annotations

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError
from tests.support.toy.inputs import ToyInputs, too_long
from tests.support.toy.model import ToyModel, Vector

FAULTS = Faults()


@FAULTS.add("beginning cut off", caught_by={"serves_context"})
class BeginningCutOff(ToyModel):
    def embed(self, tokens: list[int]) -> Vector:
        return super().embed(tokens[-2048:])


@FAULTS.add(
    "micro-batch of 512",
    caught_by={
        "serves_513_tokens",
        "serves_2047_tokens",
        "serves_2048_tokens",
        "serves_2049_tokens",
        "serves_context",
    },
)
class MicroBatchOf512(ToyInputs):
    def fit(self, tokens: list[int], *, cut: bool) -> list[int]:
        if len(tokens) > 512:
            raise RefusalError(500, "server_error", "too large to process")
        return super().fit(tokens, cut=cut)


@FAULTS.add("context refused", caught_by={"serves_context"})
class ContextRefused(ToyInputs):
    def limit(self) -> int:
        return super().limit() - 1


@FAULTS.add(
    "more than context accepted",
    caught_by={
        "refuses_more_than_context",
        "serves_after_too_long_input",
        "refuses_a_text_of_megabytes",
    },
)
class MoreThanContextAccepted(ToyInputs):
    def tokens(self, text: str) -> list[int]:
        return super().tokens(text[: self.context])  # all of megabytes would take long

    def fit(self, tokens: list[int], *, cut: bool) -> list[int]:
        return tokens


@FAULTS.add("limit unnamed", caught_by={"refuses_more_than_context"})
class LimitUnnamed(ToyInputs):
    def fit(self, tokens: list[int], *, cut: bool) -> list[int]:
        try:
            return super().fit(tokens, cut=cut)
        except RefusalError:
            raise too_long(f"{len(tokens)} tokens exceed the context") from None


@FAULTS.add("truncation unsaid", caught_by={"truncates", "truncates_nothing"})
class TruncationUnsaid(ToyInputs):
    def truncation(self, *, asked: bool, whole: list[int], used: list[int]) -> dict[str, bool]:
        return {}


@FAULTS.add("truncation loses the end", caught_by={"truncates"})
class TruncationLosesTheEnd(ToyInputs):
    def cut(self, tokens: list[int], limit: int) -> list[int]:
        return tokens[:limit]


@FAULTS.add("truncation everywhere", caught_by={"truncates", "truncates_nothing"})
class TruncationEverywhere(ToyInputs):
    def truncation(self, *, asked: bool, whole: list[int], used: list[int]) -> dict[str, bool]:
        return {"truncated": True} if asked else {}
