"""The measure of agreement between two rankings, and a whole measurement against the toy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.wrong_server import WrongServer
from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus
from tools.facts.models import load_models
from tools.serving.quality import measure, same_order

MODEL = load_models().models["nano"]
CORPUS = load_corpus()


def test_same_order_counts_pairs() -> None:
    expected = np.array([[3.0, 2.0, 1.0]])
    assert same_order(expected * 7, expected) == 1.0
    assert same_order(-expected, expected) == 0.0
    # One neighbouring pair of three is exchanged.
    assert same_order(np.array([[2.0, 3.0, 1.0]]), expected) == pytest.approx(2 / 3)


def test_sizes_are_measured_against_the_full_one() -> None:
    with WrongServer(MODEL) as server:
        agreements = measure(server.described().base_url, MODEL, CORPUS, lexical=True)
    assert [each.size for each in agreements] == sorted(MODEL.matryoshka, reverse=True)
    assert agreements[0].pairs == 1.0
    assert agreements[0].found == len(CORPUS.searches)
    # The toy's numbers are random: fewer of them rank less alike, yet far from by chance.
    assert 0.5 < agreements[-1].pairs < 1.0


def test_a_server_that_ignores_dimensions_is_an_error() -> None:
    with WrongServer(MODEL, "dimensions ignored") as server, pytest.raises(ToolError, match="512"):
        measure(server.described().base_url, MODEL, CORPUS, lexical=True)
