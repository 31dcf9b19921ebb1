"""The dashboard is whole: what Grafana would draw wrongly without a word is a failure here."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.support.dashboard import DASHBOARD, QUERIES, Query
from tools.facts.paths import ROOT

PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
PAGE = (ROOT / "docs" / "operate" / "monitoring.md").read_text(encoding="utf-8")


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[length] and other[start] < one[start] + one[length]
        for start, length in (("x", "w"), ("y", "h"))
    )


def test_panels_have_places_and_numbers_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for one, other in itertools.combinations(PANELS, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_the_prometheus_is_the_one_that_a_person_chooses() -> None:
    asked = [*PANELS, *(each for each in DASHBOARD["templating"]["list"] if "datasource" in each)]
    assert all(
        each["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for each in asked
    )
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "job"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.panel}-{query.legend}")
def test_a_query_asks_for_the_chosen_jobs_and_keeps_what_its_legend_shows(query: Query) -> None:
    assert query.metrics
    selectors = re.findall(r"\{(job=~\"\$job\")?", query.expression)
    assert all(selectors), query.expression
    by = re.findall(r"by \((\w+)\)", query.expression)
    assert not by or set(by) - {"le"} == query.labels


def test_every_metric_of_the_page_is_on_it() -> None:
    described = set(re.findall(r"^\| `((?:jina_|llamacpp:n_)\w+)`", PAGE, re.MULTILINE))
    shown = {name for query in QUERIES for name in query.metrics}
    assert {re.sub("_(bucket|count)$", "", name) for name in shown} == described | {"up"}
