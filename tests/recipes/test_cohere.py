"""Cohere's own client, on the routes in its form."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/clients.md", "cohere", "python")
SHOWN = {"query": "query.embeddings.float_[0]", "document": "document.embeddings.float_[0]"}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, bits="query.embeddings.ubinary[0]", **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])
    assert len(ran["bits"]) * 8 == len(ran["query"])


def test_the_client_asks_for_a_side_itself(python: Run) -> None:
    program = changed(PROGRAM, 'input_type="search_query", ', "")
    with pytest.raises(AssertionError, match="required keyword-only argument: 'input_type'"):
        python(program, **SHOWN)
