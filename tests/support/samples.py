"""What a server's ``/metrics`` says, in Prometheus' text format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One number, its name and its labels."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Samples:
    """All samples of one answer."""

    all: tuple[Sample, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the text; AssertionError for a line that is none of the format."""
        found = []
        for line in text.splitlines():
            if line and not line.startswith("#"):
                match = _SAMPLE.fullmatch(line)
                assert match, f"not a sample: {line!r}"
                labels = dict(_LABEL.findall(match["labels"] or ""))
                found.append(Sample(match["name"], labels, float(match["value"])))
        return cls(tuple(found))

    def has(self, name: str) -> bool:
        """Whether any sample has this name."""
        return any(sample.name == name for sample in self.all)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of this name that have these labels; 0 where none has."""
        return sum(
            sample.value
            for sample in self.all
            if sample.name == name and sample.labels.items() >= labels.items()
        )

    def buckets(self, name: str) -> list[float]:
        """Return a histogram's counts, in the order of their upper bounds."""
        found = [
            (float(sample.labels["le"]), sample.value) for sample in self.all if sample.name == name
        ]
        return [value for _, value in sorted(found)]
