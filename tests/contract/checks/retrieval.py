"""Retrieval over the example corpus: prefixes, searches, and short Matryoshka vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import CORPUS, same
from tests.support.client import Client
from tests.support.server import Server
from tests.support.vectors import cosine, cosines, nearest, truncate
from tools.facts.models import load_models

CHECKS = Checks()

MODELS = load_models()

#: For each search, the number of the document that it must find.
RIGHT = [[each.id for each in CORPUS.documents].index(search.finds) for search in CORPUS.searches]


def embed_documents(client: Client) -> NDArray[np.float32]:
    """Embed the corpus's documents, with the document prefix."""
    return client.embed([MODELS.document_prefix + each.text for each in CORPUS.documents])


def embed_queries(client: Client, texts: list[str]) -> NDArray[np.float32]:
    """Embed searches, with the query prefix."""
    return client.embed([MODELS.query_prefix + text for text in texts])


@CHECKS.add()
def prefix_asymmetry(server: Server, client: Client) -> None:
    """Each text has one vector as a query and another as a document."""
    texts = [document.text for document in CORPUS.documents]
    assert cosine(embed_queries(client, texts), embed_documents(client)).max() < same(server)


@CHECKS.add()
def lexical_searches(_server: Server, client: Client) -> None:
    """Every search that shares a document's rare words finds it."""
    queries = embed_queries(client, [search.lexical for search in CORPUS.searches])
    assert nearest(queries, embed_documents(client)) == RIGHT


@CHECKS.add()
def matryoshka(server: Server, client: Client) -> None:
    """At every supported size the first numbers alone rank as the whole vector does.

    The right document stays first. And the cosines of all searches with all documents move no
    more than d numbers drawn at random from D would move them: the standard deviation of such
    a sample's cosine is sqrt(1/d - 1/D) for unit vectors of independent numbers. Twice that is
    allowed, because a trained vector's leading numbers carry more than their share. What moves
    all of a search's cosines alike changes no ranking, so each search's mean is taken off first.
    """
    documents = embed_documents(client)
    queries = embed_queries(client, [search.lexical for search in CORPUS.searches])
    whole = cosines(queries, documents)
    full = server.model.dims
    for size in server.model.matryoshka:
        short_queries, short_documents = truncate(queries, size), truncate(documents, size)
        assert nearest(short_queries, short_documents) == RIGHT, f"at {size} of {full} dims"
        moved = cosines(short_queries, short_documents) - whole
        moved -= moved.mean(axis=1, keepdims=True)
        allowed = 2.0 * np.sqrt(1.0 / size - 1.0 / full) + 1e-6  # float32's own rounding
        assert np.sqrt((moved**2).mean()) <= allowed, f"at {size} of {full} dims"
