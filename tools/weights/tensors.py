"""The tensors of synthetic weights, made one by one from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    GGMLQuantizationType,
)

from tools.weights.recipe import QUANTISED, TINY_LAYERS, Array, Recipe
from tools.weights.vocabulary import Vocabulary

#: Each control signal fills one of Q8_0's blocks of 32 channels, so that its larger values cost
#: the content channels no precision.
ANCHOR = slice(-64, -32)
RARITY = slice(-32, None)
CONTROL = 64
SIGNS = np.resize(np.array([1, -1], dtype=np.float32), 32)

# Levels, relative to a content channel's 1. Chosen by trial so that a wrong rotary base, pooling
# or mask, a missing feed-forward and another prefix each move the vector far more than rounding
# does, while lexical overlap still ranks first in 32 dimensions; the unit tests hold both.
CONTROL_LEVEL = 3.0
EOS_LEVEL = 0.03
CONTENT_SCORE = 0.3
POSITION_SCORE = 0.9
RARITY_SCORE = 1.8
HEAD_NORM = 1.2
ATTENTION_GAIN = 0.7
FFN_INPUT_GAIN = 2.0
FFN_GAIN = 0.25
#: How much of the control channels reaches the feed-forward and the output.
CONTROL_LEAK = 0.1


@dataclass(frozen=True)
class Tensor:
    """A tensor still to be made by ``make(rng, *shape)``; shape is (rows, columns) or (n,)."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    make: Callable[..., Array]

    @property
    def nbytes(self) -> int:
        block, block_bytes = GGML_QUANT_SIZES[self.kind]
        return prod(self.shape) // block * block_bytes


def make_tensors(recipe: Recipe, vocabulary: Vocabulary) -> Iterator[Tensor]:
    """Yield every tensor of the model, in the order of llama.cpp's own converter."""
    shape = recipe.model.shape
    dims = recipe.model.dims
    head = shape.head_dim
    queries, keys = (heads * head for heads in recipe.heads)
    # Each layer writes in directions of its own, so that L layers add up to sqrt(L) times one.
    share = float(np.sqrt(TINY_LAYERS / recipe.layers))

    def matrix(name: str, rows: int, columns: int, make: Callable[..., Array]) -> Tensor:
        return Tensor(name, (rows, columns), QUANTISED[recipe.quantisation][0], make)

    def norm(name: str, length: int, make: Callable[..., Array]) -> Tensor:
        return Tensor(name, (length,), GGMLQuantizationType.F32, make)

    query = partial(_attention_input, head_dim=head, slow_signal=ANCHOR)
    key = partial(_attention_input, head_dim=head, slow_signal=RARITY)
    attention_output = partial(_to_content, gain=ATTENTION_GAIN * share)
    down = partial(_to_content, gain=FFN_GAIN * share)
    head_norm = partial(_norm_weights, gain=HEAD_NORM)
    ffn_norm = partial(_content_norm, gain=FFN_INPUT_GAIN)
    output_norm = partial(_content_norm, gain=1.0)

    embeddings = partial(_embeddings, vocabulary=vocabulary)
    yield matrix("token_embd.weight", len(vocabulary.tokens), dims, embeddings)
    for layer in range(recipe.layers):
        block = f"blk.{layer}"
        yield norm(f"{block}.attn_norm.weight", dims, partial(_norm_weights, gain=1.0))
        yield matrix(f"{block}.attn_q.weight", queries, dims, query)
        yield matrix(f"{block}.attn_k.weight", keys, dims, key)
        yield matrix(f"{block}.attn_v.weight", keys, dims, _from_content)
        yield matrix(f"{block}.attn_output.weight", dims, queries, attention_output)
        if shape.architecture == "qwen3":
            yield norm(f"{block}.attn_q_norm.weight", head, head_norm)
            yield norm(f"{block}.attn_k_norm.weight", head, head_norm)
        yield norm(f"{block}.ffn_norm.weight", dims, ffn_norm)
        yield matrix(f"{block}.ffn_gate.weight", recipe.ffn, dims, _from_content)
        yield matrix(f"{block}.ffn_up.weight", recipe.ffn, dims, _from_content)
        yield matrix(f"{block}.ffn_down.weight", dims, recipe.ffn, down)
    yield norm("output_norm.weight", dims, output_norm)


def _gaussian(rng: np.random.Generator, rows: int, columns: int, scale: float) -> Array:
    return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)


def _embeddings(rng: np.random.Generator, rows: int, dims: int, *, vocabulary: Vocabulary) -> Array:
    """Make the token embeddings: code, anchor, rarity."""
    weights = _gaussian(rng, rows, dims, 1.0)
    repeated = np.flatnonzero(vocabulary.code_of != np.arange(rows))
    weights[repeated] = weights[vocabulary.code_of[repeated]]
    weights[vocabulary.eos] *= EOS_LEVEL
    weights[:, ANCHOR] = CONTROL_LEVEL * SIGNS
    weights[:, RARITY] = CONTROL_LEVEL * vocabulary.rarity[:, np.newaxis] * SIGNS
    return weights


def _attention_input(
    rng: np.random.Generator, rows: int, dims: int, *, head_dim: int, slow_signal: slice
) -> Array:
    """Make the weights of queries or keys.

    Every row reads a little content and, from the anchor, a constant: two constant vectors turned
    by rotary positions give a score that depends on the distance alone. Only in the slowest
    eighth of each head's rotary pairs, which hardly turn within the context, does the query hold
    one constant (``slow_signal`` the anchor) and the key its token's rarity.
    """
    weights = _gaussian(rng, rows, dims, CONTENT_SCORE / np.sqrt(dims - CONTROL))
    weights[:, ANCHOR] = _gaussian(rng, rows, 32, POSITION_SCORE / CONTROL_LEVEL / np.sqrt(32))
    weights[:, RARITY] = 0
    pairs = head_dim // 2
    slow = np.flatnonzero(np.arange(rows) % pairs >= pairs - pairs // 8)
    weights[slow] = 0
    weights[slow, slow_signal] = RARITY_SCORE / CONTROL_LEVEL / 32 * SIGNS
    return weights


def _from_content(rng: np.random.Generator, rows: int, dims: int) -> Array:
    """Make a map that reads the content channels alone, at their level."""
    weights = _gaussian(rng, rows, dims, 1 / np.sqrt(dims - CONTROL))
    weights[:, -CONTROL:] = 0
    return weights


def _to_content(rng: np.random.Generator, dims: int, columns: int, *, gain: float) -> Array:
    """Make a map that writes the content channels alone, at its input's level times ``gain``."""
    weights = _gaussian(rng, dims, columns, gain / np.sqrt(columns))
    weights[-CONTROL:] = 0
    return weights


def _norm_weights(rng: np.random.Generator, length: int, *, gain: float) -> Array:
    """Make norm weights around ``gain``, uneven so that leaving the norm out shows."""
    return rng.uniform(0.8 * gain, 1.2 * gain, length).astype(np.float32)


def _content_norm(rng: np.random.Generator, dims: int, *, gain: float) -> Array:
    """Make norm weights that let little of the control channels through."""
    weights = _norm_weights(rng, dims, gain=gain)
    weights[-CONTROL:] *= CONTROL_LEAK
    return weights
