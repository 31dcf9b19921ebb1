"""An independent forward pass in numpy, by which a served model is judged.

It reads the same GGUF file as llama-server (F32, F16, Q8_0 and whatever else the ``gguf`` package
can dequantise) and takes every hyper-parameter from its metadata. All arithmetic is fp32.

Architectures, as llama.cpp builds them (src/models/eurobert.cpp, src/models/qwen3.cpp): RMS norm,
grouped-query attention with NeoX-style rotary positions, SwiGLU feed-forward; ``qwen3`` also
norms each head's query and key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGUFReader, PoolingType, ReaderTensor
from gguf.quants import dequantize
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Pooling = Literal["last", "mean", "first"]

ARCHITECTURES = ("eurobert", "qwen3")
#: Queries are taken this many at a time, which bounds the score matrix in memory.
QUERY_BLOCK = 256


class Reference:
    """One model, its weights dequantised to fp32 (the token embeddings row by row, on use)."""

    def __init__(self, path: Path) -> None:
        """Load ``path``; raises ValueError for an architecture or pooling it does not know."""
        self._reader = GGUFReader(path)
        self._tensors: dict[str, ReaderTensor] = {t.name: t for t in self._reader.tensors}
        self.architecture: str = self._value("general.architecture")
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"{path}: architecture {self.architecture!r} is not one of ours")
        if self._hyper("pooling_type") != PoolingType.LAST:
            raise ValueError(f"{path}: pooling_type is not last-token")
        self.dims: int = self._hyper("embedding_length")
        self.layers: int = self._hyper("block_count")
        self.heads: int = self._hyper("attention.head_count")
        self.kv_heads: int = self._hyper("attention.head_count_kv", self.heads)
        self.head_dim: int = self._hyper("attention.key_length", self.dims // self.heads)
        self.rope_base: float = self._hyper("rope.freq_base")
        self.rms_eps: float = self._hyper("attention.layer_norm_rms_epsilon")
        self.causal: bool = self._hyper("attention.causal", True)
        self._weights = {
            name: dequantize(tensor.data, tensor.tensor_type)
            for name, tensor in self._tensors.items()
            if name != "token_embd.weight"
        }

    def embed_tokens(
        self,
        token_ids: Sequence[int],
        *,
        rope_base: float | None = None,
        pooling: Pooling = "last",
        causal: bool | None = None,
        feed_forward: bool = True,
    ) -> Array:
        """Embed one text; returns a unit vector of shape (dims,).

        ``token_ids`` are used as they are: the caller includes the EOS that llama-server appends
        (its ``/tokenize`` with ``add_special`` returns it). The keyword arguments compute a
        deliberately wrong answer, to prove that a test would notice one: another rope base,
        another pooling, the causal mask flipped, the feed-forward left out.
        """
        base = self.rope_base if rope_base is None else rope_base
        causal = self.causal if causal is None else causal
        angles = self._angles(len(token_ids), base)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        x = self._token_embeddings(token_ids)
        for layer in range(self.layers):
            x = x + self._attention(layer, x, cos, sin, causal)
            if feed_forward:
                x = x + self._feed_forward(layer, x)
        x = self._norm(x, "output_norm.weight")
        vector = {"last": x[-1], "first": x[0], "mean": x.mean(axis=0)}[pooling]
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def _attention(self, layer: int, x: Array, cos: Array, sin: Array, causal: bool) -> Array:
        name = f"blk.{layer}.attn"
        h = self._norm(x, f"{name}_norm.weight")
        q = self._split_heads(self._times(h, f"{name}_q.weight"))
        k = self._split_heads(self._times(h, f"{name}_k.weight"))
        v = self._split_heads(self._times(h, f"{name}_v.weight"))
        if self.architecture == "qwen3":
            q = self._norm(q, f"{name}_q_norm.weight")
            k = self._norm(k, f"{name}_k_norm.weight")
        q = _rotate(q, cos, sin)
        k = _rotate(k, cos, sin)
        group = self.heads // self.kv_heads
        gathered = np.concatenate(
            [
                self._attend(q[head], k[head // group], v[head // group], causal)
                for head in range(self.heads)
            ],
            axis=-1,
        )
        return self._times(gathered, f"{name}_output.weight")

    def _feed_forward(self, layer: int, x: Array) -> Array:
        h = self._norm(x, f"blk.{layer}.ffn_norm.weight")
        gate = self._times(h, f"blk.{layer}.ffn_gate.weight")
        up = self._times(h, f"blk.{layer}.ffn_up.weight")
        return self._times(_silu(gate) * up, f"blk.{layer}.ffn_down.weight")

    def _times(self, x: Array, weight: str) -> Array:
        """Multiply each row of x with a matrix."""
        product: Array = x @ self._weights[weight].T
        return product

    def _attend(self, q: Array, k: Array, v: Array, causal: bool) -> Array:
        """One head's softmax attention; all of shape (tokens, head_dim)."""
        result = np.empty_like(q)
        scale = np.float32(1 / np.sqrt(q.shape[-1]))
        for start in range(0, len(q), QUERY_BLOCK):
            stop = min(start + QUERY_BLOCK, len(q))
            seen = stop if causal else len(k)
            scores = (q[start:stop] * scale) @ k[:seen].T
            if causal:
                later = np.arange(seen) > np.arange(start, stop)[:, None]
                scores[later] = -np.inf
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            result[start:stop] = weights @ v[:seen] / weights.sum(axis=-1, keepdims=True)
        return result

    def _norm(self, x: Array, weight: str) -> Array:
        """RMS norm over the last axis (Zhang and Sennrich 2019)."""
        mean_square = np.mean(x * x, axis=-1, keepdims=True)
        scale = np.sqrt(mean_square + np.float32(self.rms_eps))
        normed: Array = x / scale * self._weights[weight]
        return normed

    def _angles(self, tokens: int, base: float) -> Array:
        """Return how far each position turns each pair of a head, (tokens, head_dim / 2)."""
        return _rotary_angles(tokens, self.head_dim, base)

    def _split_heads(self, x: Array) -> Array:
        """(tokens, heads * head_dim) -> (heads, tokens, head_dim)."""
        return x.reshape(len(x), -1, self.head_dim).transpose(1, 0, 2)

    def _token_embeddings(self, token_ids: Sequence[int]) -> Array:
        """Rows of the embedding matrix, (tokens, dims)."""
        tensor = self._tensors["token_embd.weight"]
        return dequantize(tensor.data[np.asarray(token_ids)], tensor.tensor_type)

    def _value(self, key: str) -> Any:
        field = self._reader.get_field(key)
        if field is None:
            raise ValueError(f"the metadata lacks {key}")
        return field.contents()

    def _hyper(self, name: str, default: Any = None) -> Any:
        key = f"{self.architecture}.{name}"
        if default is not None and self._reader.get_field(key) is None:
            return default
        return self._value(key)


def _rotary_angles(tokens: int, head_dim: int, base: float) -> Array:
    """Angles, (tokens, head_dim / 2) (RoFormer, Su et al. 2021, section 3.2.2).

    They are fp64: at position 30,000 an fp32 angle is already off by 0.001.
    """
    frequencies = base ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    return np.outer(np.arange(tokens, dtype=np.float64), frequencies)


def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    """NeoX style: dimension i turns together with dimension i + head_dim / 2."""
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _silu(x: Array) -> Array:
    """X * sigmoid(x), written with tanh so that a large -x does not overflow."""
    return x * (np.float32(0.5) + np.float32(0.5) * np.tanh(x / 2))
