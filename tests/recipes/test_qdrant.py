"""Qdrant, in the program's own process."""

from __future__ import annotations

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/vector-stores.md", "Both sides", "python")
PROGRAM += block("search/vector-stores.md", "Qdrant", "python")
#: Asked before it is closed.
PROGRAM = changed(PROGRAM, "store.close()", "")
SHOWN = {
    "query": "query",
    "document": 'store.retrieve("texts", [0], with_vectors=True)[0].vector',
    "score": "found[0].score",
}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])
    wanted.is_score(ran["score"])


def test_a_search_on_the_wrong_side_is_taken(python: Run, wanted: Wanted) -> None:
    program = changed(PROGRAM, '[search], "query"', '[search], "document"')
    wanted.lost_score(python(program, **SHOWN)["score"])
