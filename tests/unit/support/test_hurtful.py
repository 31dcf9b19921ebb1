"""The hurtful recipes hurt as they say, and the bars that are found with them catch faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.hurtful import HURTS, MASSIVE, OVERFLOW, Hurt, tokens_of, write_hurtful
from tests.support.reference import Array
from tests.support.rounded import (
    Noisy,
    Rounded,
    apart,
    embed,
    find_bars,
    in_16_bits,
)
from tools.facts.models import load_models
from tools.weights.recipe import Quantisation

MODELS = load_models().models
LIMIT = 65504
#: Below it 127 divided by a block's largest magnitude is infinite in 32 bits.
NEXT_TO_NOTHING = 3.7e-37

each_model = pytest.mark.parametrize("model", MODELS)


class Watched(Rounded):
    """Keeps what goes into products with weights, by their names, and into attention."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.inputs: dict[str, list[Array]] = defaultdict(list)
        self.attended: list[tuple[Array, Array, Array]] = []

    def _times(self, x: Array, weight: str) -> Array:
        self.inputs[weight.split(".")[-2]].append(x)
        return super()._times(x, weight)

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        self.attended.append((q, k, v))
        return super()._attend(q, k, v, causal)

    def shares(self) -> Iterator[Array]:
        """Yield each head's weights of the keys for the last query, which sees all of them."""
        for q, k, _ in self.attended:
            scores = k @ q[-1] / np.sqrt(q.shape[-1])
            weights = np.exp(scores - scores.max())
            yield weights / weights.sum()


def watch(
    hurt: Hurt, model: str, folder: Path, *, length: int = 130, quantisation: Quantisation = "Q8_0"
) -> Watched:
    """Compute one input, and keep what goes where."""
    file = folder / "hurtful.gguf"
    vocabulary = write_hurtful(file, MODELS[model], hurt, quantisation)
    watched = Watched(file)
    watched.embed_tokens(tokens_of(vocabulary, length))
    return watched


def largest_of_blocks(x: Array) -> Array:
    blocks: Array = np.abs(x.reshape(len(x), -1, 32)).max(axis=-1)
    return blocks


# ------------------------------------------------------------------ the recipes


def test_the_same_file_is_made_again(tmp_path: Path) -> None:
    for name in ("first", "again"):
        write_hurtful(tmp_path / name, MODELS["small"], HURTS["sinks"], "Q8_0")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


@each_model
def test_massive_channels_are_in_a_block_with_others_that_they_drown(
    model: str, tmp_path: Path
) -> None:
    watched = watch(HURTS["massive"], model, tmp_path)
    embeddings = watched._token_embeddings(range(50, 150))
    assert [float(np.abs(embeddings[:, channel]).max()) for channel, _, _ in MASSIVE] == (
        pytest.approx([1000, 300, 100], rel=0.01)
    )
    channel = MASSIVE[0][0]
    x = watched.inputs["attn_q"][0]
    unit = np.abs(x[:, channel]) / 127
    neighbours = np.abs(np.delete(x[:, :32], channel, axis=1))
    # Most of them are rounded to none, one or a few units.
    assert np.median(neighbours / unit[:, None]) < 10


@each_model
def test_the_first_token_takes_most_of_attention(model: str, tmp_path: Path) -> None:
    shares = list(watch(HURTS["sinks"], model, tmp_path).shares())
    assert all(0.85 < share[0] < 0.999 for share in shares)


@each_model
def test_every_key_counts_alike(model: str, tmp_path: Path) -> None:
    shares = list(watch(HURTS["flat"], model, tmp_path).shares())
    assert all(share.max() < 1.5 * share.mean() for share in shares)


@each_model
def test_attention_picks_a_key_and_gates_are_open_or_shut(model: str, tmp_path: Path) -> None:
    watched = watch(HURTS["steep"], model, tmp_path)
    assert np.median([share.max() for share in watched.shares()]) > 0.5
    opened = np.concatenate([x.ravel() for x in watched.inputs["ffn_down"]])
    assert (np.abs(opened) < 1e-3).mean() > 0.3
    assert np.abs(opened).max() > 100


@each_model
def test_blocks_are_next_to_nothing_nothing_and_subnormal(model: str, tmp_path: Path) -> None:
    watched = watch(HURTS["tiny"], model, tmp_path)
    for name in ("attn_q", "ffn_gate"):
        for x in watched.inputs[name]:
            largest = largest_of_blocks(x)
            # Of two in eleven tokens all is nothing, or so little that Q8_0 makes nothing of it.
            assert (largest[:, 1] > 0).mean() > 0.7
            assert (largest[:, 1] < NEXT_TO_NOTHING).all()
            assert (largest[:, 2] == 0).all()
            assert (largest[:, 3] < 2.0**-14).all()
            assert np.median(largest[:, 3]) > 2.0**-24
    for name in ("attn_output", "ffn_down"):
        assert all((largest_of_blocks(x)[:, 0] == 0).all() for x in watched.inputs[name])
    # And whole tokens of zeros.
    assert any((x == 0).all(axis=1).any() for x in watched.inputs["attn_q"])


@each_model
def test_numbers_come_near_the_limit_of_16_bits(model: str, tmp_path: Path) -> None:
    watched = watch(HURTS["limit"], model, tmp_path, length=575)
    largest = {name: max(np.abs(x).max() for x in xs) for name, xs in watched.inputs.items()}
    largest["k"] = max(np.abs(k).max() for _, k, _ in watched.attended)
    largest["v"] = max(np.abs(v).max() for _, _, v in watched.attended)
    assert max(largest.values()) < LIMIT
    assert min(largest["k"], largest["v"], largest["ffn_down"]) > LIMIT / 4


@each_model
def test_one_more_recipe_is_beyond_it(model: str, tmp_path: Path) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        watched = watch(OVERFLOW, model, tmp_path, length=2)
    assert min(np.abs(v).max() for _, _, v in watched.attended[:4]) > LIMIT


# ------------------------------------------------------------------ the bars


class SumsIn16Bits(Rounded):
    """Attention that adds up the values in F16, key by key, as llama.cpp's does for few queries."""

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        right = super()._attend(q, k, v, causal)
        scores = in_16_bits(k) @ q[-1] / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max())
        total = np.zeros(v.shape[1], dtype=np.float16)
        for weight, value in zip(weights, v.astype(np.float16), strict=True):
            total += (weight * value).astype(np.float16)
        right[-1] = total.astype(np.float64) / weights.sum()
        return right


class SubnormalsAreZero(Rounded):
    """A conversion to F16 that knows no subnormal numbers."""

    def _rounded(self, x: Array, weight: str) -> Array:
        return super()._rounded(np.where(np.abs(x) < 2.0**-14, 0, x), weight)


class UnitsWithoutSigns(Rounded):
    """A product that looks for a block's largest number, not its largest magnitude."""

    def _rounded(self, x: Array, weight: str) -> Array:
        blocks = x.reshape(len(x), -1, 32)
        unit = blocks.max(axis=-1, keepdims=True) / 127
        whole = np.rint(blocks / np.where(unit > 0, unit, 1)).clip(-128, 127)
        rounded: Array = (whole * unit).reshape(x.shape)
        return rounded


class HalfTheLimit(Rounded):
    """Keys and values that end at half of what F16 can hold."""

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        return super()._attend(
            q, k.clip(-LIMIT / 2, LIMIT / 2), v.clip(-LIMIT / 2, LIMIT / 2), causal
        )


class CoarseKeys(Rounded):
    """Keys that are kept in eight bits."""

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        unit = np.abs(k).max(axis=-1, keepdims=True) / 127
        return super()._attend(q, np.rint(k / unit) * unit, v, causal)


class FirstKeyIsLost(Rounded):
    """Attention that reads nothing where the first value is."""

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        return super()._attend(q, k, np.concatenate([0 * v[:1], v[1:]]), causal)


#: With Q8_0 the bar is a hundred times that with F16, as what float32 loses rounds numbers the
#: other way in steps of 1/127: only F16 tells small errors, or many keys do.
FAULTS: Sequence[tuple[type[Rounded], str, Quantisation, int]] = (
    (SumsIn16Bits, "flat", "F16", 200),
    (SumsIn16Bits, "flat", "Q8_0", 1100),
    (SubnormalsAreZero, "tiny", "F16", 65),
    (UnitsWithoutSigns, "massive", "Q8_0", 65),
    (HalfTheLimit, "limit", "F16", 200),
    (CoarseKeys, "steep", "F16", 200),
    (FirstKeyIsLost, "sinks", "F16", 65),
)


@each_model
@pytest.mark.parametrize("case", FAULTS, ids=lambda case: f"{case[0].__name__}-{case[2]}")
def test_a_fault_is_beyond_the_bar(
    case: tuple[type[Rounded], str, Quantisation, int], model: str, tmp_path: Path
) -> None:
    fault, hurt, quantisation, length = case
    file = tmp_path / "hurtful.gguf"
    vocabulary = write_hurtful(file, MODELS[model], HURTS[hurt], quantisation)
    inputs = [tokens_of(vocabulary, each) for each in (1, 2, 31, 65, length)]
    bars = find_bars(file, inputs)
    assert apart(embed(fault(file), inputs[-1:]), bars.rounded[-1:]) > bars.to_rounded


@each_model
def test_other_noise_is_within_the_bar(model: str, tmp_path: Path) -> None:
    file = tmp_path / "hurtful.gguf"
    vocabulary = write_hurtful(file, MODELS[model], HURTS["flat"], "Q8_0")
    inputs = [tokens_of(vocabulary, length) for length in (1, 2, 31, 65, 130)]
    bars = find_bars(file, inputs)
    for seed in range(10, 14):
        assert apart(embed(Noisy(file, seed), inputs), bars.rounded).max() <= bars.to_rounded
