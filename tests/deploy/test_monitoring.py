"""What the chart writes for Prometheus is what is tested without a cluster."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.deploy.rendered import rendered, variant
from tests.support.dashboard import TEXT as DASHBOARD
from tools.facts.paths import CHART

SELECTOR, OF_THE_RELEASE = 'job="embeddings"', 'namespace="search",service="embeddings"'


def test_the_rules_are_those_that_promtool_tests_but_for_the_selector() -> None:
    (plain,) = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
    (group,) = variant("everything").one("PrometheusRule")["spec"]["groups"]
    assert group["name"] == "search.embeddings"
    expected: list[dict[str, Any]] = json.loads(
        json.dumps(plain["rules"]).replace(
            json.dumps(SELECTOR)[1:-1], json.dumps(OF_THE_RELEASE)[1:-1]
        )
    )
    assert group["rules"] == expected
    assert all(OF_THE_RELEASE in rule["expr"] for rule in expected)


def test_the_dashboard_is_the_one_that_is_tested_under_the_label_of_grafanas_sidecar() -> None:
    config = variant("everything").one("ConfigMap")
    assert config["data"] == {"jina-embeddings-v5.json": DASHBOARD.rstrip("\n")}
    labels = config["metadata"]["labels"]
    assert labels.items() >= {"grafana_dashboard": "1", "team": "search"}.items()


def test_nothing_of_monitoring_is_written_unasked() -> None:
    for kind in ("ConfigMap", "PrometheusRule", "ServiceMonitor"):
        assert rendered().all(kind) == []
