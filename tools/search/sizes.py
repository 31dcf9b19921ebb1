"""What a smaller vector costs, by every Matryoshka size and form that a server has.

The example corpus's searches are ranked with each and compared with the ranking of the full
vectors of float32. On synthetic weights this shows that sizes and forms work, not what they cost:
their numbers are random, where a trained model puts what matters most first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.common.console import say, table
from tools.facts.corpus import Corpus, load_corpus
from tools.facts.images import Images
from tools.facts.models import Model, Models
from tools.serving.client import EmbeddingServer
from tools.serving.options import (
    choose_image,
    choose_weights,
    compose_overrides,
)
from tools.serving.profile import booted

#: The forms that vector indexes keep, and the bytes that a dimension then takes.
_FORMS = {"float": 4.0, "int8": 1.0, "ubinary": 0.125}


@dataclass(frozen=True)
class Agreement:
    """How the rankings at one size and in one form compare with those of the full vectors."""

    size: int
    form: str
    found: int  # searches whose document comes first
    pairs: float  # share of document pairs in the same order


def same_order(scores: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Return the share of pairs of columns that both rank alike, over all rows.

    1 is the same ranking, 0.5 what chance gives; Kendall's tau is twice this minus 1.
    """
    first, second = np.triu_indices(scores.shape[1], k=1)
    ours = np.sign(scores[:, first] - scores[:, second])
    theirs = np.sign(expected[:, first] - expected[:, second])
    return float((ours == theirs).mean())


def similarities(
    queries: NDArray[np.floating], documents: NDArray[np.floating], form: str
) -> NDArray[np.floating]:
    """Return how near each query is to each document: dot products, or bits that are the same."""
    if form == "ubinary":
        queries, documents = (
            2.0 * np.unpackbits(each.astype(np.uint8), axis=1) - 1 for each in (queries, documents)
        )
    return queries @ documents.T


def measure(base_url: str, model: Model, corpus: Corpus, *, lexical: bool) -> list[Agreement]:
    """Return the agreement at each of the model's sizes, the largest first, in each form.

    ``lexical`` takes the wordings that share a document's words, which is all that synthetic
    weights understand.
    """
    searches = [each.lexical if lexical else each.text for each in corpus.searches]
    documents = [each.text for each in corpus.documents]
    ids = [each.id for each in corpus.documents]
    right = np.array([ids.index(each.finds) for each in corpus.searches])
    found = []
    server = EmbeddingServer(base_url)
    full = None
    for size in reversed(model.matryoshka):
        for form in _FORMS:
            queries = server.embed(searches, side="query", dimensions=size, form=form)
            texts = server.embed(documents, side="document", dimensions=size, form=form)
            scores = similarities(queries, texts, form)
            full = scores if full is None else full
            first = int((scores.argmax(axis=1) == right).sum())
            found.append(Agreement(size, form, first, same_order(scores, full)))
    return found


def show(model: Model, corpus: Corpus, agreements: Sequence[Agreement], *, weights: str) -> None:
    """Print one model's table."""
    say(f"\n{model.name}, {weights} weights")
    rows = [
        (
            each.size,
            each.form,
            f"{each.size * _FORMS[each.form]:.0f}",
            f"{each.size * _FORMS[each.form] / 1000:.3f} GB",
            f"{each.found} of {len(corpus.searches)}",
            f"{each.pairs:.1%}",
        )
        for each in agreements
    ]
    header = (
        "dimensions",
        "form",
        "bytes a vector",
        "a million",
        "found first",
        "in the same order",
    )
    table(rows, header)


def run(images: Images, models: Models, options: argparse.Namespace) -> None:
    """Boot the model and measure it."""
    image = choose_image(images, options)
    model = models.models[options.model]
    weights = choose_weights(models, model, options)
    with booted(
        model,
        weights.file,
        image=image,
        synthetic=weights.synthetic,
        overrides=compose_overrides(options),
    ) as running:
        corpus = load_corpus()
        agreements = measure(running.base_url, model, corpus, lexical=weights.synthetic)
    show(model, corpus, agreements, weights=options.weights)
