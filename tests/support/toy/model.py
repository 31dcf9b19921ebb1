"""The toy's embeddings: which tokens a text has, and which vector they have.

Its "model" is a bag of words: each word is a random direction, and those that tell the corpus's
documents apart weigh more, so texts that share them are close.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.contract.checks.inputs import CORPUS
from tests.contract.checks.real import CARD_DOCUMENTS, CARD_QUERY, CARD_SIMILARITIES
from tests.support.published import Published, published
from tools.facts.models import Model

Vector = NDArray[np.float64]

#: The token that ends every text; also the largest token id.
END = 128_000


def tokenize(text: str) -> list[int]:
    """Return one token a word or sign."""
    return [zlib.crc32(each.lower().encode()) % END for each in re.findall(r"\w+|\W", text)]


_SEARCHED = {token for search in CORPUS.searches for token in tokenize(search.lexical)}
_IN_DOCUMENTS = Counter(
    token for document in CORPUS.documents for token in set(tokenize(document.text))
)


def _random_vector(seed: int, dims: int) -> Vector:
    vector: Vector = np.random.default_rng(seed).standard_normal(dims) / np.sqrt(dims)
    return vector


@cache
def direction(token: int, dims: int) -> Vector:
    """Return the random direction that belongs to a token."""
    return _random_vector(token, dims)


def unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def noise(tokens: list[int], dims: int) -> Vector:
    """Return a random vector of about length 1, always the same for the same tokens."""
    seed = zlib.crc32(np.array(tokens).tobytes())
    return _random_vector(seed, dims)


class ToyModel:
    """Makes tokens of texts, and vectors of tokens."""

    def __init__(self, model: Model) -> None:
        self.model = model
        # What a trained model knows, the toy learns by heart.
        self.published = published().get(model.name, Published({}, {}))
        self.learned = {
            tuple(self.tokens(f"Query: {search.text}")): self.tokens(f"Query: {search.lexical}")
            for search in CORPUS.searches
        }
        query = tuple(self.tokens(f"Query: {CARD_QUERY}"))
        self.card = {query: unit(direction(END, model.dims))}
        for text, similarity in zip(CARD_DOCUMENTS, CARD_SIMILARITIES[model.name], strict=True):
            tokens = self.tokens(f"Document: {text}")
            aside = noise(tokens, model.dims)
            aside = unit(aside - (aside @ self.card[query]) * self.card[query])
            self.card[tuple(tokens)] = (
                similarity * self.card[query] + np.sqrt(1 - similarity**2) * aside
            )
        for text, numbers in self.published.vectors.items():
            self.card[tuple(self.tokens(text))] = unit(np.array(numbers))

    def tokens(self, text: str) -> list[int]:
        """Return what the model makes of a text, the end token included."""
        if text in self.published.tokens:
            return self.published.tokens[text]
        return self.own_tokens(text)

    def own_tokens(self, text: str) -> list[int]:
        """Return what it makes of a text of which nothing is published."""
        if self.composes():
            text = unicodedata.normalize("NFC", text)
        return [*tokenize(text), END]

    def composes(self) -> bool:
        """Whether a text in decomposed characters is the composed one."""
        return self.model.nfc

    def embed(self, tokens: list[int]) -> Vector:
        """Return the vector of one input."""
        known = self.known(tokens)
        if known is not None:
            return known.copy()
        dims = self.model.dims
        tokens = self.learned.get(tuple(tokens), tokens)
        vector = np.zeros(dims)
        for token, count in zip(*np.unique(tokens, return_counts=True), strict=True):
            vector += self.weight(int(token)) * count * direction(int(token), dims)
        # Last-token pooling: without the end token at its end, a text is embedded as another.
        return unit(vector) if tokens[-1] == END else unit(unit(vector) + noise(tokens, dims))

    def known(self, tokens: list[int]) -> Vector | None:
        """Return the vector that others have published of these tokens, if any."""
        return self.card.get(tuple(tokens))

    def weight(self, token: int) -> float:
        """Much for a word that tells one document from the others, little for what many have."""
        count = _IN_DOCUMENTS[token]
        return 16.0 if token in _SEARCHED and count == 1 else 4.0 / (1 + count)


class ToyReference:
    """Stands for tests.support.reference.Reference where the toy is judged."""

    def __init__(self, model: Model) -> None:
        self._model = ToyModel(model)

    def embed_tokens(self, tokens: list[int]) -> Vector:
        return self._model.embed(tokens)
