"""Both architectures as one PyTorch module: batches of padded inputs, last-token pooling.

As llama.cpp builds them (src/models/eurobert.cpp, src/models/qwen3.cpp): RMS norm, grouped-query
attention with NeoX-style rotary positions, SwiGLU feed-forward; ``qwen3`` is causal and also norms
each head's query and key. Matrices that read the same input are one. Rotary positions are turned in
the module's own precision, as in transformers' Llama and Qwen3.

Not compiled by torch.compile, which needs a C++ compiler on the machine that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import nn

from tools.bench.peers.inference.batching import Vectors, pad
from tools.bench.peers.inference.weights import Hyper, Weights


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and around a sum."""

    def __init__(self, weights: Weights, number: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.hyper = weights.hyper

        def load(*names: str) -> nn.Parameter:
            parts = [weights.tensor(f"blk.{number}.{name}.weight") for name in names]
            return _parameter(np.concatenate(parts), dtype)

        self.attention_norm = load("attn_norm")
        self.query_key_value = load("attn_q", "attn_k", "attn_v")
        self.attention_output = load("attn_output")
        self.feed_forward_norm = load("ffn_norm")
        self.gate_up = load("ffn_gate", "ffn_up")
        self.down = load("ffn_down")
        if weights.hyper.architecture == "qwen3":
            self.query_norm = load("attn_q_norm")
            self.key_norm = load("attn_k_norm")

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        h = _norm(x, self.attention_norm, self.hyper)
        x = x + F.linear(self._attend(h, cos, sin, mask), self.attention_output)
        h = _norm(x, self.feed_forward_norm, self.hyper)
        gate, up = F.linear(h, self.gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down)

    def _attend(
        self, h: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """(batch, tokens, dims) -> (batch, tokens, heads * head_dim)."""
        hyper = self.hyper
        batch, tokens = h.shape[0], h.shape[1]
        both = hyper.heads + hyper.kv_heads
        split = F.linear(h, self.query_key_value).view(
            batch, tokens, both + hyper.kv_heads, hyper.head_dim
        )
        query, key, value = split.split([hyper.heads, hyper.kv_heads, hyper.kv_heads], dim=2)
        if hyper.architecture == "qwen3":
            query = _norm(query, self.query_norm, hyper)
            key = _norm(key, self.key_norm, hyper)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        group = hyper.heads // hyper.kv_heads
        if group > 1:
            key, value = (each.repeat_interleave(group, dim=2) for each in (key, value))
        gathered = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=hyper.causal,
        )
        return gathered.transpose(1, 2).reshape(batch, tokens, hyper.heads * hyper.head_dim)


class Embedder(nn.Module):
    """The whole model: padded tokens in, unit vectors out."""

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.hyper = weights.hyper
        self.embeddings = _parameter(weights.tensor("token_embd.weight"), dtype)
        self.layers = nn.ModuleList(
            Layer(weights, number, dtype) for number in range(self.hyper.layers)
        )
        self.output_norm = _parameter(weights.tensor("output_norm.weight"), dtype)
        cos, sin = rotary_angles(self.hyper)
        self.register_buffer("cos", torch.from_numpy(cos).to(dtype))
        self.register_buffer("sin", torch.from_numpy(sin).to(dtype))

    def forward(
        self, tokens: torch.Tensor, last: torch.Tensor, padded: bool = True
    ) -> torch.Tensor:
        """Embed ``tokens`` (batch, length), each input's last token at its place in ``last``.

        ``padded`` false promises that all inputs are of that length. What stands behind the last
        token of a causal model is not seen by it anyway.
        """
        length = tokens.shape[1]
        mask = None
        if padded and not self.hyper.causal:
            places = torch.arange(length, device=tokens.device)
            mask = (places <= last[:, None])[:, None, None, :]
        # Over the heads, (tokens, 1, head_dim / 2).
        cos, sin = self.cos[:length, None], self.sin[:length, None]
        x = F.embedding(tokens, self.embeddings)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        chosen = x[torch.arange(tokens.shape[0], device=tokens.device), last]
        return F.normalize(_norm(chosen, self.output_norm, self.hyper).float(), dim=-1)


class TorchRunner:
    """The module, loaded in one precision onto one device, "cpu" or "cuda"."""

    def __init__(self, path: Path, dtype: str, device: str = "cpu") -> None:
        self._device = device
        self._module = Embedder(Weights(path), getattr(torch, dtype)).eval().to(device)

    def embed(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        tokens, last = pad(inputs)
        padded = bool((last != last[0]).any())
        with torch.inference_mode():
            vectors = self._module(
                torch.from_numpy(tokens).to(self._device),
                torch.from_numpy(last).to(self._device),
                padded,
            )
        result: Vectors = vectors.cpu().numpy()
        return result


def rotary_angles(hyper: Hyper) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine and sine for every place, each (context, head_dim / 2).

    RoFormer, Su et al. 2021, section 3.2.2.
    """
    frequencies = hyper.rope_base ** (-np.arange(0, hyper.head_dim, 2) / hyper.head_dim)
    angles = np.outer(np.arange(hyper.context), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """NeoX style: dimension i turns together with dimension i + head_dim / 2."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _norm(x: torch.Tensor, weight: torch.Tensor, hyper: Hyper) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, hyper.rms_eps)


def _parameter(values: NDArray[np.float32], dtype: torch.dtype) -> nn.Parameter:
    # A copy: the reader's arrays are views of the file, which must not be written to.
    return nn.Parameter(torch.tensor(values, dtype=dtype), requires_grad=False)
