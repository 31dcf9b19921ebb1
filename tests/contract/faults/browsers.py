"""Pages of others that may do too much, or too little."""

from __future__ import annotations

from collections.abc import Mapping

from tests.contract.faults.fault import Faults
from tests.support.toy.front import OPEN, ToyFront

FAULTS = Faults()


@FAULTS.add(
    "every origin is let in",
    caught_by={
        "foreign_pages_are_refused",
        "foreign_pages_are_refused_before_their_body",
        "foreign_preflights_are_refused",
    },
)
class EveryOriginIsLetIn(ToyFront):
    def check_origin(self, path: str, headers: Mapping[str, str]) -> None:
        pass


@FAULTS.add("health hidden from browsers", caught_by={"health_is_readable_for_pages"})
class HealthHiddenFromBrowsers(ToyFront):
    def readable_for(self, path: str, asked: Mapping[str, str]) -> str | None:
        return None


@FAULTS.add("browsers are told of any answer", caught_by={"other_clients_see_nothing_of_it"})
class BrowsersAreToldOfAnyAnswer(ToyFront):
    def readable_for(self, path: str, asked: Mapping[str, str]) -> str | None:
        return "*" if path in OPEN else asked.get("Origin", "*")
