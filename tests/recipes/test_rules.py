"""The alert rules, of which promtool says that they are right and when they fire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.recipes.front import CONTEXT
from tests.support.containers import docker
from tools.engine.docker import run_docker
from tools.facts.paths import CHART

RULES = CHART / "files" / "rules.yaml"
SERIES = CONTEXT.parent / "prometheus" / "rules.test.yaml"
TEXT = RULES.read_text(encoding="utf-8")
ALERTS = [rule["alert"] for rule in yaml.safe_load(TEXT)["groups"][0]["rules"] if "alert" in rule]

#: A mistake in the rules, and the alert by which the series show it.
MISTAKES = [
    ("for: 5m", "for: 10m", "EmbeddingsDown"),
    ("for: 5m", "for: 1m", "EmbeddingsDown"),
    (' or jina_ready{job="embeddings"} == 0', "", "EmbeddingsDown"),
    ('absent(up{job="embeddings"})', "absent(up)", "EmbeddingsGone"),
    ('jina_waiting_inputs{job="embeddings"} > 0 and ', "", "EmbeddingsStuck"),
    ("[10m]", "[1m]", "EmbeddingsStuck"),
    (',status!="503"', "", "EmbeddingsFailing"),
    ("[5m])) > 0", "[15m])) > 0", "EmbeddingsFailing"),
    (',reason!="draining"', "", "EmbeddingsRefused"),
    ("job, reason)", "job, reason, instance)", "EmbeddingsRefused"),
    ("(0.95", "(0.5", "jina:request_seconds_p95"),
]


def written(folder: Path, rules: str = TEXT) -> list[str]:
    """Write rules and their series into a folder; how the image is run with it."""
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    (folder / "rules.test.yaml").write_bytes(SERIES.read_bytes())
    return ["run", "--rm", "--user", "root", "--volume", f"{folder}:/recipe:ro"]


def test_promtool_finds_nothing_wrong(front_image: str, tmp_path: Path) -> None:
    check = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", "/recipe/rules.yaml"]
    assert "SUCCESS: 7 rules found" in docker(*written(tmp_path), front_image, *check)


def test_each_alert_fires_where_it_should_and_nowhere_else(
    front_image: str, tmp_path: Path
) -> None:
    test = ["promtool", "test", "rules", "/recipe/rules.test.yaml"]
    assert "SUCCESS" in docker(*written(tmp_path), front_image, *test)


@pytest.mark.parametrize(("right", "wrong", "name"), MISTAKES, ids=lambda each: str(each)[:30])
def test_the_series_show_a_mistake(
    right: str, wrong: str, name: str, front_image: str, tmp_path: Path
) -> None:
    start = TEXT.index(f" {name}\n")
    mistaken = TEXT[:start] + TEXT[start:].replace(right, wrong, 1)
    assert mistaken != TEXT
    test = ["promtool", "test", "rules", "/recipe/rules.test.yaml"]
    result = run_docker([*written(tmp_path, mistaken), front_image, *test], timeout=60)
    assert result.returncode == 1
    assert name in result.stdout + result.stderr


def test_every_alert_has_series_where_it_fires_and_where_it_does_not() -> None:
    tried: dict[str, set[bool]] = {name: set() for name in ALERTS}
    tests: list[dict[str, Any]] = yaml.safe_load(SERIES.read_text(encoding="utf-8"))["tests"]
    for each in (one for test in tests for one in test["alert_rule_test"]):
        tried[each["alertname"]].add(bool(each.get("exp_alerts")))
    assert tried == {name: {True, False} for name in ALERTS}
