"""Figures of the real models that others have published: published.toml, with their sources."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: The least cosine to a published vector: its makers' own tolerance.
TOLERANCE = 0.9998


@dataclass(frozen=True)
class Published:
    """By text: the token ids, the end token included, and the vectors of the default file."""

    tokens: Mapping[str, list[int]]
    vectors: Mapping[str, list[float]]


@cache
def published() -> Mapping[str, Published]:
    """Return what is published, by model; nothing is of small."""
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {
        model: Published(
            {case["text"]: case["ids"] for case in figures["tokens"]},
            {case["text"]: case["numbers"] for case in figures["vectors"]},
        )
        for model, figures in content.items()
    }
