"""The measure of agreement between two rankings, and a whole measurement against the toy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contract.faults.api import DimensionsIgnored
from tests.support.toy.server import ToyServer
from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus
from tools.facts.models import load_models
from tools.search.sizes import measure, same_order, similarities

MODEL = load_models().models["nano"]
CORPUS = load_corpus()


def test_same_order_counts_pairs() -> None:
    expected = np.array([[3.0, 2.0, 1.0]])
    assert same_order(expected * 7, expected) == 1.0
    assert same_order(-expected, expected) == 0.0
    # One neighbouring pair of three is exchanged.
    assert same_order(np.array([[2.0, 3.0, 1.0]]), expected) == pytest.approx(2 / 3)


def test_sizes_are_measured_against_the_full_one() -> None:
    with ToyServer(MODEL) as server:
        agreements = measure(server.described().base_url, MODEL, CORPUS, lexical=True)
    floats = [each for each in agreements if each.form == "float"]
    assert [each.size for each in floats] == sorted(MODEL.matryoshka, reverse=True)
    assert floats[0].pairs == 1.0
    assert floats[0].found == len(CORPUS.searches)
    # The toy's numbers are random: fewer of them rank less alike, yet far from by chance.
    assert 0.5 < floats[-1].pairs < 1.0


def test_forms_are_measured_at_every_size() -> None:
    with ToyServer(MODEL) as server:
        agreements = measure(server.described().base_url, MODEL, CORPUS, lexical=True)
    for form in ("int8", "ubinary"):
        of_form = [each for each in agreements if each.form == form]
        assert [each.size for each in of_form] == sorted(MODEL.matryoshka, reverse=True)
        assert 0.5 < of_form[0].pairs <= 1.0
        assert of_form[0].found == len(CORPUS.searches)


def test_bits_in_another_order_than_the_numbers_rank_the_same() -> None:
    """What is compared is how many bits are the same; of a whole number it would be its size."""
    one, other = np.array([[0b10000000, 1]]), np.array([[0b00000001, 1], [0b10000000, 3]])
    assert similarities(one, other, "ubinary").argmax() == 1


def test_a_server_that_ignores_dimensions_is_an_error() -> None:
    with ToyServer(MODEL, DimensionsIgnored) as server, pytest.raises(ToolError, match="512"):
        measure(server.described().base_url, MODEL, CORPUS, lexical=True)
