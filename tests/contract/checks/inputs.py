"""The inputs that the checks send, and when two vectors are the same."""

from __future__ import annotations

import random

from tests.support.client import Client
from tests.support.server import Server
from tools.facts.corpus import load_corpus

CORPUS = load_corpus()

#: The least cosine at which two vectors are the same but for rounding. Where the weights are
#: quantised, so are the activations between the layers (steps of 1/127 of a block's largest value);
#: where they are F16 the activations are rounded to 11 bits. A change in the order of additions, as
#: batching makes, moves some activations by one such step. Two different texts are well below both.
SAME_F16, SAME_QUANTISED = 0.9999, 0.999


def same(server: Server) -> float:
    """Return the least cosine at which two of the server's vectors differ by rounding only."""
    return SAME_F16 if server.quantisation == "F16" else SAME_QUANTISED


def different_texts(count: int) -> list[str]:
    """Return ``count`` short texts, each of other words of the corpus, always the same ones."""
    words = sorted({word for each in CORPUS.documents for word in each.text.split()})
    return [" ".join(random.Random(seed).sample(words, 8)) for seed in range(count)]


def token_array(client: Client, length: int) -> list[int]:
    """Return an input of exactly ``length`` tokens that ends as the model's own inputs do.

    The tokens are the corpus's own, in random order: prose repeated would hide a model that
    forgets where a token stands.
    """
    text = " ".join(document.text for document in CORPUS.documents)
    words = client.tokenize(text, add_special=False)
    end = client.tokenize(text)[-1]
    return [*random.Random(length).choices(words, k=length - 1), end]
