"""Milvus Lite, in the program's own process."""

from __future__ import annotations

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/vector-stores.md", "Both sides", "python")
PROGRAM += block("search/vector-stores.md", "Milvus", "python")
SHOWN = {
    "document": 'store.query("texts", filter="id == 0", output_fields=["vector"])[0]["vector"]',
    "score": 'found[0][0]["distance"]',
}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_document(ran["document"])
    wanted.is_score(ran["score"])


def test_a_search_on_the_wrong_side_is_taken(python: Run, wanted: Wanted) -> None:
    program = changed(PROGRAM, '[search], "query"', '[search], "document"')
    wanted.lost_score(python(program, **SHOWN)["score"])
