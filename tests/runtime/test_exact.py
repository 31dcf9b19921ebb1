"""The same text gives the same vector, to the byte, whatever it is embedded beside.

On a CPU with AVX2 every operation of ours, and of llama.cpp's that is left, adds up a row's numbers
in an order that depends on the row alone. Where other code multiplies the matrices (AMX, ARM, CPUs
without AVX2) that is not known; there the difference is bounded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.checks.inputs import token_array
from tests.contract.checks.numbers import BARS, reference
from tests.support.client import Client
from tests.support.containers import is_cuda
from tests.support.cpu_variants import cpu_features
from tests.support.requirements import need
from tests.support.vectors import cosine
from tools.facts.models import Model, load_models
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.recipe import Quantisation
from tools.weights.synthetic import ensure_synthetic

#: Where kernels and tiles begin and end: one row, vectors of 4, 8 and 16, tiles of 64, and the
#: micro-batch of 512, of which small's inputs fill several.
LENGTHS = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    32,
    33,
    48,
    62,
    63,
    64,
    65,
    66,
    96,
    127,
    128,
    129,
)
LONG = (191, 192, 193, 448, 511, 512, 513, 575, 576, 577, 1023, 1025, 1100)
#: Its last micro-batch, alone, holds 24 tokens: below 64, llama.cpp's attention is other code.
TAIL = 4120
#: The same near the end of each model's context; small's last micro-batch of 8216 is such a tail,
#: and of 16408. The reference takes a minute for the longest.
LONGER = {"nano": (8191,), "small": (8216,)}
LONGEST = {"nano": (4097, 8192), "small": (8192, 16408, 32767, 32768)}
SHUFFLES = 2
CLIENTS = 6
#: 1 - cosine, where the bytes may differ: what upstream's two kernels for Q8_0 differ by, 3.5e-4,
#: with as much again for F16's rounding between them.
OTHER_CODE = 7e-4


def is_exact_here() -> bool:
    """Whether all matrices are multiplied by code that takes each row for itself."""
    return "avx2" in cpu_features() and "amx_int8" not in cpu_features()


@dataclass(frozen=True)
class Cases:
    """A server of a file, inputs, and the vector of each when the server has nothing else to do."""

    client: Client
    file: Path
    quantisation: Quantisation
    inputs: list[list[int]]
    alone: list[NDArray[np.float32]]


@pytest.fixture(scope="module", params=load_models().models.values(), ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.param
    return found


@pytest.fixture(scope="module", params=["Q8_0", "F16"])
def cases(
    model: Model, request: pytest.FixtureRequest, patched: str, pytestconfig: pytest.Config
) -> Iterator[Cases]:
    need(pytestconfig, "cpu-image", available=not is_cuda(patched), why="a GPU adds up otherwise")
    quantisation: Quantisation = request.param
    file = ensure_synthetic(models_dir(), model, "tiny", quantisation)
    with (
        booted(model, file, image=patched, synthetic=True) as running,
        Client(running.base_url) as client,
    ):
        inputs = [token_array(client, length) for length in (*LENGTHS, *LONG, TAIL)]
        alone = [client.embed([each])[0] for each in inputs]
        yield Cases(client, file, quantisation, inputs, alone)


def assert_same(found: Sequence[NDArray[np.float32]], alone: Sequence[NDArray[np.float32]]) -> None:
    """Hold vectors to those of the same inputs alone: the bytes, or where it must be, the angle."""
    if is_exact_here():
        other = [i for i, (a, b) in enumerate(zip(found, alone, strict=True)) if (a != b).any()]
        assert other == []
    for a, b in zip(found, alone, strict=True):
        assert 1 - float(a.astype(np.float64) @ b.astype(np.float64)) < OTHER_CODE


def test_a_vector_does_not_depend_on_the_batch(cases: Cases) -> None:
    client, inputs, alone = cases.client, cases.inputs, cases.alone
    for seed in range(SHUFFLES):
        order = random.Random(seed).sample(range(len(inputs)), len(inputs))
        found = client.embed([inputs[i] for i in order])
        assert_same(list(found), [alone[i] for i in order])


def test_a_vector_does_not_depend_on_other_clients(cases: Cases) -> None:
    client, inputs, alone = cases.client, cases.inputs, cases.alone

    def embed(seed: int) -> None:
        order = random.Random(100 + seed).sample(range(len(inputs)), len(inputs) // 2)
        for i in order:
            assert_same([client.embed([inputs[i]])[0]], [alone[i]])

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(embed, range(CLIENTS)))


def test_a_vector_is_the_same_again(cases: Cases) -> None:
    """At another time, and from another slot."""
    client, inputs, alone = cases.client, cases.inputs, cases.alone
    assert_same([client.embed([each])[0] for each in reversed(inputs)], alone[::-1])


def test_long_inputs_are_right_and_the_same_in_company(cases: Cases, model: Model) -> None:
    judge_long(cases, LONGER[model.name])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_longest_inputs_are_right_and_the_same_in_company(cases: Cases, model: Model) -> None:
    judge_long(cases, LONGEST[model.name])


def judge_long(cases: Cases, lengths: Sequence[int]) -> None:
    """Hold inputs to the reference, and to their own bytes between shorter ones."""
    for length in lengths:
        tokens = token_array(cases.client, length)
        alone = cases.client.embed([tokens])[0]
        expected = reference(cases.file).embed_tokens(tokens)
        assert cosine(alone, expected) >= BARS[cases.quantisation], length
        company = [cases.inputs[i] for i in (5, -1, 20)]
        found = cases.client.embed([*company[:2], tokens, company[2]])
        assert_same([found[2]], [alone])
