"""LlamaIndex's client of servers that speak OpenAI's API."""

from __future__ import annotations

from tests.recipes.conftest import Wanted
from tests.recipes.program import TEXT, Run, block, changed

PROGRAM = block("search/frameworks.md", "LlamaIndex", "python")
SHOWN = {"query": "query", "document": "document"}
#: The same through an index, as a person would go on.
INDEX = """
from llama_index.core import Document, VectorStoreIndex

index = VectorStoreIndex.from_documents([Document(text=TEXT)], embed_model=sides)
(stored,) = index.vector_store.data.embedding_dict.values()
(found,) = index.as_retriever(similarity_top_k=1).retrieve("Why was my pod killed?")
"""


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])


def test_an_index_keeps_the_sides_apart(python: Run, wanted: Wanted) -> None:
    program = PROGRAM + INDEX.replace("TEXT", repr(TEXT))
    ran = python(program, document="stored", score="found.score")
    wanted.is_document(ran["document"])
    wanted.is_score(ran["score"])


def test_one_client_for_an_index_loses_a_side(python: Run, wanted: Wanted) -> None:
    program = PROGRAM + changed(INDEX, "=sides", "=sides.queries").replace("TEXT", repr(TEXT))
    ran = python(program, document="stored", score="found.score")
    wanted.has_lost_its_side(ran["document"])


def test_line_breaks_become_spaces(python: Run, wanted: Wanted) -> None:
    program = changed(PROGRAM, "more memory than", r"more memory\nthan")
    wanted.is_document(python(program, **SHOWN)["document"])
