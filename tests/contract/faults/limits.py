"""Requests of any size that are taken."""

from __future__ import annotations

from collections.abc import Mapping

from tests.contract.faults.fault import Faults
from tests.support.toy.front import ToyFront
from tests.support.toy.inputs import ToyInputs

FAULTS = Faults()


@FAULTS.add("any number of inputs", caught_by={"refuses_too_many_inputs"})
class AnyNumberOfInputs(ToyInputs):
    def check_count(self, count: int) -> None:
        pass


@FAULTS.add("bodies of any size", caught_by={"refuses_a_huge_body_unread"})
class BodiesOfAnySize(ToyFront):
    def check_size(self, headers: Mapping[str, str]) -> None:
        pass
