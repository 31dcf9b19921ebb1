"""The Grafana dashboard of the chart, as the queries that it sends to Prometheus."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tools.facts.paths import CHART

TEXT = (CHART / "files" / "dashboard.json").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads(TEXT)


@dataclass(frozen=True)
class Query:
    """One line, or one line for each server, of a panel."""

    panel: str
    expression: str
    legend: str

    @property
    def metrics(self) -> set[str]:
        """The names of the samples that it asks for."""
        return set(re.findall(r"([A-Za-z_:][\w:]*)\{", self.expression))

    @property
    def labels(self) -> set[str]:
        """The labels that its legend shows."""
        return set(re.findall(r"\{\{(\w+)\}\}", self.legend))

    def sent(self, job: str, interval: str) -> str:
        """The expression with Grafana's variables as it fills them in."""
        filled = self.expression.replace("$job", job).replace("$__rate_interval", interval)
        assert "$" not in filled, f"{self.panel}: a variable that Grafana does not have: {filled}"
        return filled


QUERIES = [
    Query(panel["title"], target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
