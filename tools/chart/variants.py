"""The values that the chart is checked with: deploy/helm/variants.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.common.errors import ToolError
from tools.facts.paths import CHART_VARIANTS

#: Of Kubernetes, which Chart.yaml says, too.
OLDEST = "1.25"


@dataclass(frozen=True)
class Variant:
    """Values, and the oldest Kubernetes that they are for."""

    name: str
    values: Mapping[str, Any]
    kubernetes: str

    def versions(self, known: Sequence[str]) -> list[str]:
        """Return those of the ``known`` versions that it is for, the oldest first."""
        return [each for each in known if number(each) >= number(self.kubernetes)]


def number(version: str) -> tuple[int, int]:
    """Return a version such as ``1.25`` or ``1.25.0`` as numbers that compare."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def load_variants(path: Path = CHART_VARIANTS) -> list[Variant]:
    """Read the variants; raises ToolError with the name of one that has unknown keys."""
    variants = []
    for name, keys in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        if unknown := set(keys) - {"kubernetes", "values"}:
            raise ToolError(f"{path}: {name} has the unknown keys {', '.join(sorted(unknown))}")
        variants.append(Variant(name, keys["values"], keys.get("kubernetes", OLDEST)))
    return variants
