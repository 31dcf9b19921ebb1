"""What a fault is, and how a module makes one of a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Part = TypeVar("Part")


@dataclass(frozen=True)
class Fault:
    """One way to break the contract: ``part`` is a subclass of one of the toy's parts.

    It may be caught by other checks than those that ``caught_by`` names; these must catch it.
    ``model`` is the one that shows it.
    """

    name: str
    part: type[object]
    caught_by: frozenset[str]
    model: str = "nano"


class Faults(list[Fault]):
    """The faults of a module, in the order in which they stand there."""

    def add(
        self, name: str, *, caught_by: set[str], model: str = Fault.model
    ) -> Callable[[type[Part]], type[Part]]:
        """Return a decorator that makes a fault of a class; ``Fault`` describes the rest."""

        def added(part: type[Part]) -> type[Part]:
            self.append(Fault(name, part, frozenset(caught_by), model))
            return part

        return added
