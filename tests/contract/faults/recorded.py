"""Answers that some client would take for another's, or that lack what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contract.checks.recorded import recorded
from tests.contract.faults.fault import Faults
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.model import Vector
from tests.support.toy.sides import ToySides

FAULTS = Faults()


@FAULTS.add(
    "texts change places",
    caught_by={each.check for each in recorded() if each.refused is None},
)
class TextsChangePlaces(ToyEmbeddings):
    def batch(self, vectors: list[Vector]) -> list[Vector]:
        return vectors[::-1]


@FAULTS.add(
    "usage left out",
    caught_by={each.check for each in recorded() if "usage" in "".join(each.reads)},
)
class UsageLeftOut(ToyEmbeddings):
    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        return super().answer(request, path_side) | {"usage": {}}


@FAULTS.add(
    "clients' sides lost",
    caught_by={
        each.check for each in recorded() if {"task", "input_type"} & set(each.body) and each.side
    },
)
class ClientsSidesLost(ToySides):
    def prefixed(self, given: Any, side: str) -> Any:
        return given


@FAULTS.add("any task taken", caught_by={"replays_elasticsearch_s_jinaai_service_clustering"})
class AnyTaskTaken(ToySides):
    def words(self) -> dict[str, str]:
        return {**super().words(), "separation": "document"}
