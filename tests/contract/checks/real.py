"""What only the real weights can do: meaning, beyond shared words."""

from __future__ import annotations

import numpy as np

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import CORPUS
from tests.contract.checks.retrieval import RIGHT, embed_documents, embed_queries
from tests.support.client import Client
from tests.support.published import TOLERANCE, published
from tests.support.server import Server
from tests.support.vectors import cosine, cosines, margins, nearest

CHECKS = Checks()

#: The example in the model cards on Hugging Face (sentence-transformers section of
#: jina-embeddings-v5-text-{nano,small}-retrieval), with the similarities printed there.
CARD_QUERY = "Which planet is known as the Red Planet?"
CARD_DOCUMENTS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
]
CARD_SIMILARITIES = {
    "nano": [0.5013, 0.7914, 0.6133, 0.5736],
    "small": [0.4860, 0.7611, 0.5914, 0.6188],
}


@CHECKS.add(needs=("real-weights",))
def model_card_similarities(server: Server, client: Client) -> None:
    """Its own example has the similarities that the model card prints.

    The card computed them in bfloat16 and this server in its quantisation, so they agree to
    less than four digits: within half the smallest gap between two of them, so that the order
    is the card's too.
    """
    published = np.array(CARD_SIMILARITIES[server.model.name])
    tolerance = np.diff(np.sort(published)).min() / 2
    query = client.embed([f"Query: {CARD_QUERY}"])
    documents = client.embed([f"Document: {text}" for text in CARD_DOCUMENTS])
    assert np.abs(cosines(query, documents)[0] - published).max() < tolerance


@CHECKS.add(needs=("real-weights",))
def searches(_server: Server, client: Client) -> None:
    """Every search finds its document, though it shares no telling word with it."""
    queries = embed_queries(client, [search.text for search in CORPUS.searches])
    assert nearest(queries, embed_documents(client)) == RIGHT


@CHECKS.add(needs=("real-weights",))
def prefixes_help(_server: Server, client: Client) -> None:
    """With prefixes the right document leads the best wrong one by more, on average."""
    texts = [search.text for search in CORPUS.searches]
    with_prefixes = margins(embed_queries(client, texts), embed_documents(client), RIGHT)
    without = margins(
        client.embed(texts), client.embed([each.text for each in CORPUS.documents]), RIGHT
    )
    assert with_prefixes.mean() > without.mean()


@CHECKS.add(
    needs=("real-weights", "published-figures"),
    xfail="llama-server does not know that nano's mask takes the blanks before it",
)
def published_tokens(server: Server, client: Client) -> None:
    """Texts have the tokens that others have published of the model's own tokenizer."""
    for text, ids in published()[server.model.name].tokens.items():
        assert client.tokenize(text) == ids, text


@CHECKS.add(needs=("real-weights", "published-figures"))
def published_vectors(server: Server, client: Client) -> None:
    """Texts have the vectors that others have published of the same model file."""
    for text, numbers in published()[server.model.name].vectors.items():
        assert cosine(client.embed([text])[0], np.array(numbers)) >= TOLERANCE, text
