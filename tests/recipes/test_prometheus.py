"""A real Prometheus, set up as docs/operate/monitoring.md does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.recipes.front import authority, free_port, running
from tests.recipes.program import SEARCH, block, changed
from tests.recipes.test_rules import TEXT as RULES
from tests.support.client import Client
from tests.support.containers import docker
from tests.support.dashboard import QUERIES, Query
from tests.support.server import Server
from tests.support.waiting import wait_until
from tools.facts.paths import ROOT

PAGE = "operate/monitoring.md"
SCRAPE = block(PAGE, "Prometheus", "yaml")
KEY = "    authorization: {credentials_file: key}\n"
#: The page leaves Prometheus' own minute; a test does not.
OFTEN = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
#: Panels of what is there in moments only, or of what a healthy server does not do.
OFTEN_ZERO = {
    "Inputs that wait or are computed",
    "Bytes of requests that wait or are computed",
    "Refused requests per second, by reason",
    # Without JINA_CACHE_MB nothing is kept, and these searches meet no long batch.
    "Inputs per second, from the cache and computed",
    "Bytes of the cache",
    "Vectors in the cache",
    "Inputs per second in the middle of a batch",
}
COMMAND = ["--config.file=/recipe/prometheus.yml", "--storage.tsdb.path=/tmp/data"]


def files(server: Server) -> dict[str, str]:
    """The page's files for this server."""
    scrape = changed(SCRAPE, "localhost:8080", authority(server.base_url))
    if not server.api_key:
        scrape = changed(scrape, KEY, "")
    return {
        "prometheus.yml": OFTEN + scrape,
        "rules.yaml": RULES,
        "key": server.api_key or "",
    }


@pytest.fixture
def prometheus(patched: Server, front_image: str, tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    command = ["prometheus", *COMMAND, f"--web.listen-address=127.0.0.1:{port}"]
    with (
        running(front_image, files(patched), command, port, tmp_path) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        wait_until(lambda: client.get("/-/ready").status_code == 200, "Prometheus is ready")
        yield client


def samples(prometheus: httpx.Client, query: str) -> list[dict[str, Any]]:
    """What an expression gives now, with its labels."""
    answer: dict[str, Any] = prometheus.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


def values(prometheus: httpx.Client, query: str) -> list[float]:
    """What an expression gives now."""
    return [float(each["value"][1]) for each in samples(prometheus, query)]


def test_promtool_takes_both_files(front_image: str, patched: Server, tmp_path: Path) -> None:
    for name, text in files(patched).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    tool = ["run", "--rm", "--user", "root", "--volume", f"{tmp_path}:/recipe:ro", front_image]
    said = docker(*tool, "promtool", "check", "config", "/recipe/prometheus.yml")
    assert "SUCCESS: 1 rule files found" in said
    assert "SUCCESS: 7 rules found" in said


def test_what_the_page_asks_for_is_there(prometheus: httpx.Client, patched: Server) -> None:
    """Each name that the rules use has samples, and what was embedded is counted."""
    wait_until(lambda: values(prometheus, 'up{job="embeddings"}') == [1], "the server is scraped")
    (before,) = values(prometheus, "jina_inputs_total")
    with Client(patched.base_url, patched.api_key) as client:
        client.embed([SEARCH] * 3)
        client.request("POST", "/v1/embeddings", json={"input": []})
    wait_until(lambda: values(prometheus, "jina_inputs_total") >= [before + 3], "three are counted")
    for name in sorted(set(re.findall(r"\b(?:jina_\w+|llamacpp:\w+|up)\b", RULES))):
        assert values(prometheus, name), name
    for name in re.findall(r"record: (\S+)", RULES):
        wait_until(lambda name=name: bool(values(prometheus, name)), f"{name} is recorded")  # type: ignore[misc]
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    assert [each["health"] for each in groups[0]["rules"]] == ["ok"] * 7
    assert values(prometheus, 'up{job="embeddings"} == 0 or jina_ready == 0') == []


def test_every_query_of_the_dashboard_has_numbers(
    prometheus: httpx.Client, patched: Server
) -> None:
    """In the server's own answer there is each name, and Prometheus reads each expression."""
    with Client(patched.base_url, patched.api_key) as client:
        scraped = client.samples()
        for name in {name for query in QUERIES for name in query.metrics} - {"up"}:
            assert scraped.has(name), name

        def shown(query: Query) -> bool:
            # A rate has a number only where something was counted between two scrapes.
            client.embed([SEARCH] * 2)
            found = samples(prometheus, query.sent("embeddings", "1m"))
            assert all(each["metric"].keys() >= query.labels for each in found)
            least = 0 if query.panel in OFTEN_ZERO else 1e-9
            return any(float(each["value"][1]) >= least for each in found)

        for query in QUERIES:
            wait_until(partial(shown, query), query.expression)


def test_the_version_is_that_of_the_page(front_image: str) -> None:
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    (version,) = re.findall(
        r"prometheus, version (\d+\.\d+)",
        docker("run", "--rm", front_image, "sh", "-c", "prometheus --version 2>&1"),
    )
    assert f"for Prometheus {version}:" in page
