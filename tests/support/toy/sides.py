"""Whether the toy's texts are queries or documents, and the prefix that they have for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.refusals import bad_request
from tests.support.toy.fields import said
from tools.facts.models import load_models

_MODELS = load_models()

PREFIXES = {"query": _MODELS.query_prefix, "document": _MODELS.document_prefix}
OTHER = {"query": "document", "document": "query"}

_NAMES = ("input_type", "task", "task_type", "prompt_name", "prompt_type")
SIDES = {
    **dict.fromkeys(
        ("query", "search", "search_query", "retrieval.query", "RETRIEVAL_QUERY"), "query"
    ),
    **dict.fromkeys(
        (
            "document",
            "ingest",
            "passage",
            "search_document",
            "retrieval.passage",
            "RETRIEVAL_DOCUMENT",
        ),
        "document",
    ),
}


class ToySides:
    """Reads them, and adds their prefixes."""

    def read(self, request: Mapping[str, Any], path_side: str | None) -> str | None:
        """Return the side that path and fields say; raises RefusalError for what cannot be."""
        sides = said(_NAMES, request, self.side)
        if path_side:
            sides.append(path_side)
        if any(side != sides[0] for side in sides):
            self.contradiction()
        return sides[0] if sides else None

    def side(self, name: str, value: Any) -> str | None:
        """Return what a field says; None where it says nothing."""
        if not isinstance(value, str):
            raise bad_request(f"{name} must be a string", name)
        if value in ("", "TASK_TYPE_UNSPECIFIED"):
            return None
        if value not in SIDES:
            raise bad_request(f"{name} cannot be this: the weights are for retrieval", name)
        return SIDES[value]

    def contradiction(self) -> None:
        """Refuse a request of two sides."""
        raise bad_request("two fields differ in the side")

    def prefixed(self, given: Any, side: str) -> Any:
        """Return a text with the prefix of its side; raises RefusalError for tokens."""
        if not isinstance(given, str):
            raise bad_request("tokens cannot have a prefix")
        prefix = PREFIXES[side]
        return given if given.startswith(prefix) else prefix + given
