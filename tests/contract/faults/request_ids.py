"""Request ids that are lost, or that do not belong into a log."""

from __future__ import annotations

from tests.contract.faults.fault import Faults
from tests.support.toy.front import ToyFront

FAULTS = Faults()


@FAULTS.add("request ids dropped", caught_by={"request_ids_are_sent_back", "request_ids_are_made"})
class RequestIdsDropped(ToyFront):
    def request_id(self, given: str) -> str | None:
        return None


@FAULTS.add("any request id taken", caught_by={"request_ids_are_made"})
class AnyRequestIdTaken(ToyFront):
    def request_id(self, given: str) -> str | None:
        return given or super().request_id(given)
