"""Sides that are not heard, or heard wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contract.checks import elasticsearch, sides
from tests.contract.faults.fault import Faults
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.sides import OTHER, PREFIXES, SIDES, ToySides

FAULTS = Faults()

ADDS_PREFIX = {f"side_{name}" for name in sides.WAYS}
CLIENTS = {"side_from_openai_client", "langchain_client"}
ELASTICSEARCH = {
    f"elasticsearch_{name}_{way}"
    for name in elasticsearch.VERSIONS
    for way in ("semantic-text", "dense-vector")
}


@FAULTS.add(
    "sides ignored",
    caught_by=ADDS_PREFIX | CLIENTS | {"side_single_text", "side_with_dimensions"},
)
class SidesIgnored(ToySides):
    def read(self, request: Mapping[str, Any], path_side: str | None) -> str | None:
        super().read(request, path_side)
        return None


@FAULTS.add(
    "sides swapped",
    caught_by=ADDS_PREFIX
    | CLIENTS
    | {"side_single_text", "side_with_dimensions", "elasticsearch_custom"},
)
class SidesSwapped(ToySides):
    def prefixed(self, given: Any, side: str) -> Any:
        return super().prefixed(given, OTHER[side])


@FAULTS.add("prefix doubled", caught_by=ADDS_PREFIX)
class PrefixDoubled(ToySides):
    def prefixed(self, given: Any, side: str) -> Any:
        return PREFIXES[side] + given


@FAULTS.add("prefix not counted", caught_by=ADDS_PREFIX)
class PrefixNotCounted(ToyEmbeddings):
    def count(self, inputs: list[list[int]], side: str | None) -> int:
        return super().count(inputs, side) - (len(inputs) if side else 0)


@FAULTS.add(
    "path prefixes ignored",
    caught_by={"side_query_path", "side_document_path"} | CLIENTS | ELASTICSEARCH,
)
class PathPrefixesIgnored(ToySides):
    def read(self, request: Mapping[str, Any], path_side: str | None) -> str | None:
        return super().read(request, None)


@FAULTS.add(
    "wrong sides accepted",
    caught_by={f"side_refuses_{name}" for name in (*sides.REFUSED, "token_array")},
)
class WrongSidesAccepted(ToySides):
    def side(self, name: str, value: Any) -> str | None:
        return SIDES.get(value, "query")

    def contradiction(self) -> None:
        pass

    def prefixed(self, given: Any, side: str) -> Any:
        return given


@FAULTS.add("a side yields to a prefix", caught_by={"side_wins_over_a_prefix"})
class SideYieldsToAPrefix(ToySides):
    def prefixed(self, given: Any, side: str) -> Any:
        prefixed = super().prefixed(given, side)
        return given if given.startswith(PREFIXES[OTHER[side]]) else prefixed
