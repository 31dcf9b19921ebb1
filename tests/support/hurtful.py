"""Synthetic weights that hurt: of the models' own architectures, narrow, for tests alone.

tools/weights makes weights that retrieve: numbers stay near one, and attention picks a few keys.
Trained models are not so gentle, and some of what a kernel may do wrong does not show there.

Each of ``HURTS`` changes a random network, in which every map is Gaussian and keeps its inputs'
level, so that scores of attention have a spread of about one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tools.facts.models import Model
from tools.weights.recipe import Array, Quantisation, Recipe
from tools.weights.synthetic import write_model
from tools.weights.tensors import Tensor, make_tensors
from tools.weights.vocabulary import Vocabulary, make_vocabulary

SEED = 18
#: Numbers of a token, eight of Q8_0's blocks. nano has 4 heads of 64 then, small 4 of 128.
WIDTH = 256

#: Channels that no layer writes to where a recipe has need of them.
ANCHOR = slice(0, 32)
FIRST = slice(32, 64)
SIGNS = np.resize(np.array([1, -1], dtype=np.float32), 32)

#: Changes a tensor in place; ``vocabulary`` says which tokens are special.
Change = Callable[[Array, Vocabulary], None]


def times(factor: float) -> Change:
    """Make every weight so many times as large."""

    def change(weights: Array, vocabulary: Vocabulary) -> None:
        weights *= np.float32(factor)

    return change


# ------------------------------------------------------------------ massive

#: Channels and their levels, beside ones of about one: a thousand times, for each token; and less,
#: for some (Sun et al. 2024, "Massive activations in large language models").
MASSIVE = ((3, 1000.0, 1), (70, -300.0, 3), (200, 100.0, 7))


def massive_embeddings(weights: Array, vocabulary: Vocabulary) -> None:
    for channel, level, every in MASSIVE:
        weights[::every, channel] = level


def massive_norm(weights: Array, vocabulary: Vocabulary) -> None:
    """As trained norms do: small where it is massive, large elsewhere, and a block is lost yet."""
    weights *= 20
    for channel, _, _ in MASSIVE:
        weights[channel] = 0.3


def massive_output_norm(weights: Array, vocabulary: Vocabulary) -> None:
    """Without this a vector would be its massive channels, and any two the same."""
    for channel, level, _ in MASSIVE:
        weights[channel] /= abs(level)


# ------------------------------------------------------------------ sinks


def sink_embeddings(weights: Array, vocabulary: Vocabulary) -> None:
    """The first token alone has a signal, and nothing else."""
    weights[vocabulary.bos] *= 0.01
    weights[:, ANCHOR] = 3 * SIGNS
    weights[:, FIRST] = 0
    weights[vocabulary.bos, FIRST] = 3 * SIGNS


def sink_rows(signal: slice, head_dim: int, level: float) -> Change:
    """Let a head's slowest rotary pairs, which hardly turn, read nothing but the signal."""
    pairs = head_dim // 2

    def change(weights: Array, vocabulary: Vocabulary) -> None:
        slow = np.flatnonzero(np.arange(len(weights)) % pairs >= pairs - pairs // 8)
        weights *= np.float32(0.3)
        weights[slow] = 0
        weights[slow, signal] = level / 32 / 3 * SIGNS

    return change


def leave_signals_out(weights: Array, vocabulary: Vocabulary) -> None:
    weights[:, : FIRST.stop] = 0


def keep_signals(weights: Array, vocabulary: Vocabulary) -> None:
    weights[: FIRST.stop] = 0


def sink_output(weights: Array, vocabulary: Vocabulary) -> None:
    """What is left for the other tokens counts all the more."""
    weights *= 30
    keep_signals(weights, vocabulary)


# ------------------------------------------------------------------ flat


def flat_embeddings(weights: Array, vocabulary: Vocabulary) -> None:
    """A signal that all tokens share, so that sums over keys grow; the last has little else."""
    weights[vocabulary.eos] *= 0.03
    weights[:, ANCHOR] = 2 * SIGNS


# ------------------------------------------------------------------ steep


def saturated(weights: Array, vocabulary: Vocabulary) -> None:
    """Every weight of the same size: in Q8_0 blocks of 127 and -127 alone."""
    weights[:] = np.sign(weights) / np.sqrt(np.float32(weights.shape[1]))


# ------------------------------------------------------------------ tiny

#: Blocks of channels: next to nothing, nothing, and what F16 keeps in few bits (its subnormal
#: numbers), which the weights make large again.
NEXT_TO_NOTHING = slice(32, 64)
NOTHING = slice(64, 96)
SUBNORMAL = slice(96, 128)
SUBNORMAL_LEVEL = 2.0**-17


def tiny_norm(weights: Array, vocabulary: Vocabulary) -> None:
    weights[NEXT_TO_NOTHING] = 2e-38
    weights[NOTHING] = 0
    weights[SUBNORMAL] *= SUBNORMAL_LEVEL


def tiny_inputs(weights: Array, vocabulary: Vocabulary) -> None:
    weights[:, SUBNORMAL] /= SUBNORMAL_LEVEL


def tiny_rows(weights: Array, vocabulary: Vocabulary) -> None:
    """The first block of the next product's inputs is zeros."""
    tiny_inputs(weights, vocabulary)
    weights[:32] = 0


def tiny_embeddings(weights: Array, vocabulary: Vocabulary) -> None:
    """Some tokens are nothing at all, and some next to it."""
    weights[::11] = 0
    weights[1::11] *= np.float32(1e-6)


# ------------------------------------------------------------------ the recipes

#: Which tensors are changed, and how; `attn_q` is every layer's `blk.N.attn_q.weight`.
Changes = Mapping[str, Change]


@dataclass(frozen=True)
class Hurt:
    """A recipe; ``eurobert`` and ``qwen3`` have changes of their own beside those of both."""

    changes: Changes
    eurobert: Changes
    qwen3: Changes


def _sink_heads(head_dim: int, level: float) -> Changes:
    """Return changes by which the first token's score is about ten more than any other's."""
    return {
        "attn_q": sink_rows(ANCHOR, head_dim, level),
        "attn_k": sink_rows(FIRST, head_dim, level),
    }


def _near_the_limit(values: float) -> Hurt:
    """Keys, values and a feed-forward's products in the ten thousands; F16 ends at 65504."""
    return Hurt(
        {
            "token_embd": times(200),
            "attn_v": times(values),
            "attn_output": times(200 / values),
            "ffn_gate": times(40),
            "ffn_up": times(40),
            "ffn_down": times(0.1),
        },
        eurobert={"attn_q": times(1e-4), "attn_k": times(1e4)},
        qwen3={"attn_q_norm": times(1 / 4000), "attn_k_norm": times(4000)},
    )


HURTS = {
    "massive": Hurt(
        {
            "token_embd": massive_embeddings,
            "attn_norm": massive_norm,
            "ffn_norm": massive_norm,
            "attn_output": times(8),
            "ffn_down": times(8),
            "output_norm": massive_output_norm,
        },
        {},
        {},
    ),
    "sinks": Hurt(
        {
            "token_embd": sink_embeddings,
            "attn_v": leave_signals_out,
            "attn_output": sink_output,
            "ffn_down": keep_signals,
        },
        eurobert=_sink_heads(64, 4.7),
        qwen3=_sink_heads(128, 6.0),
    ),
    "flat": Hurt(
        {"token_embd": flat_embeddings, "attn_output": times(8)},
        eurobert={"attn_q": times(0.02)},
        qwen3={"attn_q_norm": times(0.02)},
    ),
    # Attention picks one key, and the gates of the feed-forward are open or shut.
    "steep": Hurt(
        {"ffn_gate": times(30), "ffn_up": saturated, "ffn_down": saturated},
        eurobert={"attn_q": times(4), "attn_k": times(4)},
        qwen3={"attn_q_norm": times(4), "attn_k_norm": times(4)},
    ),
    "tiny": Hurt(
        {
            "token_embd": tiny_embeddings,
            "attn_norm": tiny_norm,
            "ffn_norm": tiny_norm,
            "attn_q": tiny_inputs,
            "attn_k": tiny_inputs,
            "attn_v": tiny_rows,
            "ffn_gate": tiny_rows,
            "ffn_up": tiny_inputs,
        },
        {},
        {},
    ),
    "limit": _near_the_limit(10_000),
}
#: Not among them: its values do not fit 16 bits, so that there is no vector.
OVERFLOW = _near_the_limit(160_000)


def narrow(model: Model) -> Model:
    """Return a model of the same kind with few numbers a token, so that tests are fast."""
    shape = model.shape
    if shape.architecture == "eurobert":
        heads = WIDTH // shape.head_dim
        shape = replace(shape, heads=heads, kv_heads=heads)
    return replace(model, dims=WIDTH, shape=shape)


def write_hurtful(path: Path, model: Model, hurt: Hurt, quantisation: Quantisation) -> Vocabulary:
    """Write a file of narrow hurtful weights that a server may read; return its tokens."""
    small = narrow(model)
    vocabulary = make_vocabulary(Recipe(small, "tiny", quantisation, SEED))

    def tensors(recipe: Recipe, vocabulary: Vocabulary) -> Iterator[Tensor]:
        changes = {**hurt.changes, **getattr(hurt, model.shape.architecture)}
        for tensor in make_tensors(recipe, vocabulary):
            change = changes.get(tensor.name.split(".")[-2])

            def make(
                rng: np.random.Generator, *shape: int, change: Change | None = change
            ) -> Array:
                weights = plain(rng, *shape, embeds=shape[0] == len(vocabulary.tokens))
                if change is not None:
                    change(weights, vocabulary)
                return weights

            yield replace(tensor, make=make)

    write_model(
        path, small, size="tiny", quantisation=quantisation, seed=SEED, vocabulary=vocabulary,
        tensors=tensors,
    )  # fmt: skip
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return vocabulary


def plain(rng: np.random.Generator, *shape: int, embeds: bool) -> Array:
    """Make norms around one, and Gaussian maps that keep the level of their inputs."""
    if len(shape) == 1:
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    scale = np.float32(1 if embeds else 1 / np.sqrt(shape[1]))
    return rng.standard_normal(shape, dtype=np.float32) * scale


def tokens_of(vocabulary: Vocabulary, length: int) -> list[int]:
    """Return an input of exactly ``length`` tokens: a first one, any, and the model's own last."""
    first = [vocabulary.bos] if length > 1 else []
    words = random.Random(length).choices(range(vocabulary.bos), k=max(length - 2, 0))
    return [*first, *words, vocabulary.eos]
