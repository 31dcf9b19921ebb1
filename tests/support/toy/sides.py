"""Whether the toy's texts are queries or documents, and the prefix that they have for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.refusals import bad_request
from tests.support.toy.fields import said
from tools.facts.models import RETRIEVAL, load_models

_MODELS = load_models()

PREFIXES = {"query": _MODELS.query_prefix, "document": _MODELS.document_prefix}
OTHER = {"query": "document", "document": "query"}

_NAMES = ("input_type", "task", "task_type", "taskType", "prompt_name", "prompt_type")
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


#: Words for a document that do not say what it is for.
_DOCUMENTS = ("document", "ingest", "passage")

#: Words for the other tasks, whose texts all have the document's prefix.
TASKS = {
    "text-matching": "text-matching",
    "SEMANTIC_SIMILARITY": "text-matching",
    "clustering": "clustering",
    "CLUSTERING": "clustering",
    "separation": "clustering",
    "classification": "classification",
    "CLASSIFICATION": "classification",
}


class ToySides:
    """Reads them, and adds their prefixes; ``task`` is what the weights are for."""

    def __init__(self, task: str = RETRIEVAL) -> None:
        self.task = task

    def words(self) -> dict[str, str]:
        """Return the words that are taken here, with the side that each says."""
        if self.task == RETRIEVAL:
            return SIDES
        own = [word for word, task in TASKS.items() if task == self.task]
        return dict.fromkeys((*_DOCUMENTS, *own), "document")

    def read(self, request: Mapping[str, Any], path_side: str | None) -> str | None:
        """Return the side that path and fields say; raises RefusalError for what cannot be."""
        sides = said(_NAMES, request, self.side)
        if path_side:
            sides.append(self.of_path(path_side))
        if any(side != sides[0] for side in sides):
            self.contradiction()
        return sides[0] if sides else None

    def of_path(self, side: str) -> str:
        """Return the side that a path says; raises RefusalError where the task has none such."""
        if side not in self.words().values():
            raise bad_request(f"the path is for queries, these weights are for {self.task}")
        return side

    def side(self, name: str, value: Any) -> str | None:
        """Return what a field says; None where it says nothing."""
        if not isinstance(value, str):
            raise bad_request(f"{name} must be a string", name)
        if value in ("", "TASK_TYPE_UNSPECIFIED"):
            return None
        if value not in self.words():
            raise bad_request(f"{name} cannot be this: the weights are for {self.task}", name)
        return self.words()[value]

    def contradiction(self) -> None:
        """Refuse a request of two sides."""
        raise bad_request("two fields differ in the side")

    def prefixed(self, given: Any, side: str) -> Any:
        """Return a text with the prefix of its side; raises RefusalError for tokens."""
        if not isinstance(given, str):
            raise bad_request("tokens cannot have a prefix")
        prefix = PREFIXES[side]
        return given if given.startswith(prefix) else prefix + given

    def implied(self, given: Any) -> Any:
        """Return an input of a request that says no side: a text has the task's only prefix."""
        is_text = isinstance(given, str) and given
        return self.prefixed(given, "document") if is_text and self.task != RETRIEVAL else given
