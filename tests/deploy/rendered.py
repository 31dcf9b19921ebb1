"""What the chart makes of values, by what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.chart.helm import render
from tools.chart.validate import kubernetes_versions
from tools.chart.variants import load_variants

NEWEST = kubernetes_versions()[-1]
VARIANTS = {each.name: each for each in load_variants()}
#: The least that the chart needs.
PVC = {"weights": {"source": "pvc", "pvc": {"claimName": "models"}}}


@dataclass(frozen=True)
class Rendered:
    """The documents of a release."""

    documents: list[dict[str, Any]]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.documents if each["kind"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        (document,) = self.all(kind)
        return document

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of the servers' pods."""
        return dict(self.one("Deployment")["spec"]["template"]["spec"])

    @property
    def server(self) -> dict[str, Any]:
        """The container that serves."""
        (container,) = self.pod["containers"]
        return dict(container)

    @property
    def environment(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.server["env"]}


def rendered(
    values: Mapping[str, Any] = {}, *, kubernetes: str = NEWEST, release: str = "embeddings"
) -> Rendered:
    """Render the chart with values, with the weights on a PVC where they name no source."""
    return Rendered(render({**PVC, **values}, kubernetes, release=release))


def variant(name: str, release: str = "embeddings") -> Rendered:
    """Render one of deploy/helm/variants.yaml."""
    return rendered(VARIANTS[name].values, release=release)
