"""Weights that hurt: right for every length, and the same bytes in company as alone.

How far off a vector may be is found with the file's own weights: tests/support/rounded.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.test_exact import is_exact_here
from tests.support.boots import each_model
from tests.support.client import Client, describe
from tests.support.containers import is_cuda
from tests.support.hurtful import HURTS, OVERFLOW, Hurt, tokens_of, write_hurtful
from tests.support.requirements import need
from tests.support.rounded import apart, find_bars
from tools.common.console import say
from tools.facts.models import load_models
from tools.serving.profile import booted
from tools.weights.recipe import QUANTISATIONS, Quantisation
from tools.weights.vocabulary import Vocabulary

MODELS = load_models().models

#: Where kernels, tiles and micro-batches begin and end. small's last micro-batch of 512 holds 1, 8,
#: 63 and 76 tokens of the last four.
LENGTHS = (1, 2, 31, 33, 63, 64, 65, 511, 512, 513, 520, 575, 1100)
#: With so many keys as the contexts allow; small's last micro-batch holds 24 tokens.
LONG = {"nano": (4120, 8191), "small": (4120, 8216)}
ORDERS = 2
#: These two cover both models, both quantisations and both attentions; the others are slow.
FIRST = {("nano", "Q8_0"), ("small", "F16")}


def cases() -> Iterator[object]:
    for hurt in HURTS:
        for model in MODELS:
            for quantisation in QUANTISATIONS:
                name = f"{hurt}-{model}-{quantisation}"
                marks = [pytest.mark.xdist_group(name)]
                if (model, quantisation) not in FIRST:
                    marks.append(pytest.mark.slow)
                yield pytest.param((hurt, model, quantisation), id=name, marks=marks)


@dataclass(frozen=True)
class Case:
    """A file of hurtful weights, a server of it, inputs, and the vector of each alone."""

    name: str
    file: Path
    client: Client
    inputs: list[list[int]]
    alone: NDArray[np.float32]


@pytest.fixture(scope="module")
def exact_image(patched: str, pytestconfig: pytest.Config) -> str:
    """The image, on a machine where its vectors are exact."""
    need(pytestconfig, "cpu-image", available=not is_cuda(patched), why="a GPU adds up otherwise")
    why = "other code than ours multiplies on this CPU, and rounds in other places"
    need(pytestconfig, "exact-cpu", available=is_exact_here(), why=why)
    return patched


@contextmanager
def serve(
    hurt: Hurt, model: str, quantisation: Quantisation, image: str, folder: Path
) -> Iterator[tuple[Client, Path, Vocabulary]]:
    """Make a file, in a folder of its own, and serve it."""
    file = folder / f"{model}-{quantisation}.gguf"
    vocabulary = write_hurtful(file, MODELS[model], hurt, quantisation)
    with (
        booted(MODELS[model], file, image=image, synthetic=True) as running,
        Client(running.base_url) as client,
    ):
        yield client, file, vocabulary


@pytest.fixture(scope="module", params=cases())
def case(
    request: pytest.FixtureRequest, exact_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    hurt, model, quantisation = request.param
    folder = tmp_path_factory.mktemp("hurtful")
    with serve(HURTS[hurt], model, quantisation, exact_image, folder) as (client, file, vocabulary):
        inputs = [tokens_of(vocabulary, length) for length in LENGTHS]
        alone = np.array([client.embed([each])[0] for each in inputs])
        yield Case(f"{hurt} {model} {quantisation}", file, client, inputs, alone)


def test_vectors_are_right(case: Case) -> None:
    judge(case.name, case.file, case.inputs, case.alone)


def test_vectors_are_the_same_in_company(case: Case) -> None:
    for seed in range(ORDERS):
        order = random.Random(seed).sample(range(len(LENGTHS)), len(LENGTHS))
        found = case.client.embed([case.inputs[i] for i in order])
        same = (found == case.alone[order]).all(axis=1)
        assert [LENGTHS[i] for i, each in zip(order, same, strict=True) if not each] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@each_model
def test_thousands_of_keys_that_count_alike(model: str, exact_image: str, tmp_path: Path) -> None:
    """What a sum loses grows with its terms."""
    with serve(HURTS["flat"], model, "F16", exact_image, tmp_path) as (client, file, vocabulary):
        inputs = [tokens_of(vocabulary, length) for length in LONG[model]]
        alone = np.array([client.embed([each])[0] for each in inputs])
        company = tokens_of(vocabulary, 100)
        found = client.embed([company, *inputs, company])[1:-1]
    judge(f"flat {model} F16, {LONG[model]} tokens", file, inputs, alone)
    assert (found == alone).all()


@each_model
def test_what_does_not_fit_16_bits_is_not_answered(
    model: str, exact_image: str, tmp_path: Path
) -> None:
    """Values of attention are kept in 16 bits, and these are larger than such numbers can be."""
    with serve(OVERFLOW, model, "Q8_0", exact_image, tmp_path) as (client, _, vocabulary):
        for length in (1, 65):
            response = client.request(
                "POST", "/v1/embeddings", json={"input": [tokens_of(vocabulary, length)]}
            )
            assert response.status_code == 500, describe(response)
            assert "not finite" in response.json()["error"]["message"]


def judge(
    name: str, file: Path, inputs: Sequence[Sequence[int]], vectors: NDArray[np.float32]
) -> None:
    """Hold vectors to both bars; prints a row of the table of docs/measured/exact.md."""
    bars = find_bars(file, inputs)
    to_exact, to_rounded = apart(vectors, bars.exact), apart(vectors, bars.rounded)
    say(
        f"{name}: to exact arithmetic {to_exact.max():.1e} (bar {bars.to_exact:.1e}), to what is "
        f"rounded on purpose {to_rounded.max():.1e} (bar {bars.to_rounded:.1e})"
    )
    assert (to_exact <= bars.to_exact).all(), to_exact
    assert (to_rounded <= bars.to_rounded).all(), to_rounded
