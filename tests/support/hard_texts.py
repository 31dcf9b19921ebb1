"""Texts at which tokenizers differ: scripts, marks, blanks, code, numbers, special tokens."""

from __future__ import annotations

import random
import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

#: By what is hard about them.
TEXTS: dict[str, str] = {
    **_DATA["texts"],
    "long_word": "Donaudampfschifffahrtsgesellschaftskapitän" * 4 + "a" * 300 + "=" * 130,
    "long_marks": "Z" + "\u0311\u0316\u0315\u0345" * 12 + "algo",
}

_PIECES = tuple(piece for pieces in _DATA["pieces"].values() for piece in pieces)
_WORDS = tuple(word for text in TEXTS.values() for word in text.split(" ") if word)


def decomposed(text: str) -> str:
    """Return a text as macOS writes file names: in the normal form D."""
    return unicodedata.normalize("NFD", text)


def random_mixes(count: int, seed: int) -> Sequence[str]:
    """Return so many texts of random pieces, some decomposed, always the same for a seed."""
    source = random.Random(seed)
    mixes = []
    for _ in range(count):
        pool = source.choice([_PIECES, _WORDS, _PIECES + _WORDS])
        text = source.choice(["", " "]).join(source.choices(pool, k=source.randint(1, 40)))
        mixes.append(decomposed(text) if source.random() < 0.3 else text)
    return mixes
