"""Chroma, with an embedding function that knows both sides."""

from __future__ import annotations

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/vector-stores.md", "Both sides", "python")
PROGRAM += block("search/vector-stores.md", "Chroma", "python")
SHOWN = {
    "document": 'collection.get(include=["embeddings"])["embeddings"][0]',
    "distance": 'found["distances"][0][0]',
}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_document(ran["document"])
    wanted.is_score(1 - ran["distance"])


def test_a_function_without_embed_query_searches_with_documents(
    python: Run, wanted: Wanted
) -> None:
    program = changed(PROGRAM, "def embed_query", "def embed_another")
    wanted.lost_score(1 - python(program, **SHOWN)["distance"])


def test_chromas_own_function_has_one_side(python: Run, wanted: Wanted) -> None:
    own = 'OpenAIEmbeddingFunction("unused", "jina", api_base="http://localhost:8080/document/v1")'
    program = changed(PROGRAM, "=Sides()", f"={own}")
    imported = "from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction\n"
    ran = python(imported + program, **SHOWN)
    wanted.is_document(ran["document"])
    wanted.lost_score(1 - ran["distance"])
