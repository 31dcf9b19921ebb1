"""The catalogue's origins, by kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Kind = TypeVar("Kind")


def first_of(kind: type[Kind], origins: Iterable[object]) -> Kind:
    """Return the first origin of a kind."""
    return next(origin for origin in origins if isinstance(origin, kind))
