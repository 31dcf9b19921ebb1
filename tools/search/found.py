"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hit:
    """The nearest document of a search, by cosine distance (0 the same, 1 unrelated)."""

    search: str
    found: str
    distance: float
    right: bool
