"""A model file's weights and hyper-parameters, read with the gguf package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

ARCHITECTURES = ("eurobert", "qwen3")


@dataclass(frozen=True)
class Hyper:
    """What the metadata says of the model's shape."""

    architecture: str
    dims: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_base: float
    rms_eps: float
    causal: bool
    context: int


class Weights:
    """An open model file; tensors are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Open ``path``; raises ValueError for an architecture that is not one of ours."""
        self._reader = GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        architecture = self._value("general.architecture", None)
        if architecture not in ARCHITECTURES:
            raise ValueError(f"{path}: architecture {architecture!r} is not one of ours")

        def value(name: str, default: Any = None) -> Any:
            return self._value(f"{architecture}.{name}", default)

        dims, heads = value("embedding_length"), value("attention.head_count")
        self.hyper = Hyper(
            architecture=architecture,
            dims=dims,
            layers=value("block_count"),
            heads=heads,
            kv_heads=value("attention.head_count_kv", heads),
            head_dim=value("attention.key_length", dims // heads),
            rope_base=value("rope.freq_base"),
            rms_eps=value("attention.layer_norm_rms_epsilon"),
            causal=value("attention.causal", True),
            context=value("context_length"),
        )

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return a tensor in fp32, of shape (outputs, inputs) or (n,)."""
        tensor = self._tensors[name]
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)

    def _value(self, key: str, default: Any) -> Any:
        field = self._reader.get_field(key)
        if field is not None:
            return field.contents()
        if default is None:
            raise ValueError(f"the metadata lacks {key}")
        return default
