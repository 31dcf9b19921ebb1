"""LangChain's embeddings client, and a vector store of LangChain with it."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/frameworks.md", "LangChain", "python")
SHOWN = {
    "query": 'store.embeddings.embed_query("Why was my pod killed?")',
    "document": 'next(iter(store.store.values()))["vector"]',
    "score": "score",
}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])
    wanted.is_score(ran["score"])


def test_one_client_for_a_store_loses_a_side(python: Run, wanted: Wanted) -> None:
    program = changed(PROGRAM, "InMemoryVectorStore(Sides())", "InMemoryVectorStore(queries)")
    ran = python(program, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.has_lost_its_side(ran["document"])


def test_tokens_of_another_model_are_refused(python: Run) -> None:
    """OpenAI's vocabulary is not to be had without a network, so an array stands for it."""
    program = changed(PROGRAM, "store.add_texts(", "documents.client.create(input=[[1, 2]])\n(")
    with pytest.raises(AssertionError, match="check_embedding_ctx_length"):
        python(program)
