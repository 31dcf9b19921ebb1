"""LanceDB, with an embedding function that knows both sides."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/vector-stores.md", "Both sides", "python")
PROGRAM += block("search/vector-stores.md", "LanceDB", "python")
SHOWN = {"document": 'found[0]["vector"]', "distance": 'found[0]["_distance"]'}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_document(ran["document"])
    wanted.is_score(1 - ran["distance"])


def test_a_function_without_its_own_searches_searches_with_documents(
    python: Run, wanted: Wanted
) -> None:
    program = changed(PROGRAM, "def compute_query_embeddings", "def compute_others")
    wanted.lost_score(1 - python(program, **SHOWN)["distance"])


def test_lancedbs_own_function_has_one_side_and_wants_a_name_of_openais(
    python: Run, wanted: Wanted
) -> None:
    own = (
        'get_registry().get("openai").create(name="NAME", dim=768, api_key="$var:key", '
        'base_url="http://localhost:8080/document/v1")'
    )
    # A key must be a variable of the registry, for it is kept with the table.
    registry = (
        'from lancedb.embeddings import get_registry\nget_registry().set_var("key", "unused")\n'
    )
    program = registry + PROGRAM
    program = changed(program, "Sides.create()", own)
    with pytest.raises(AssertionError, match="Unknown model name jina"):
        python(changed(program, "NAME", "jina"), **SHOWN)
    program = changed(program, "NAME", "text-embedding-3-small")
    ran = python(program, **SHOWN)
    wanted.is_document(ran["document"])
    wanted.lost_score(1 - ran["distance"])
