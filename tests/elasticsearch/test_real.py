"""The console files in a real Elasticsearch: ``pytest -m elasticsearch --es-url URL``.

``--server-url`` is where that cluster finds the embedding server, by default the service
that `nox -s search -- elasticsearch` boots on its network, and ``--api-key`` the key that it wants;
``--model`` and ``--weights`` say what it serves. All four ways are run, `custom` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from packaging.version import Version

from tests.support.requirements import need
from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus
from tools.facts.models import Model, load_models
from tools.search.elasticsearch.assets import FIRST_RELEASES, WAYS, compose_url, works_with
from tools.search.elasticsearch.console_file import Request
from tools.search.elasticsearch.run import run_way
from tools.search.elasticsearch.runner import connect, send, version

MODELS, CORPUS = load_models(), load_corpus()

pytestmark = [
    pytest.mark.elasticsearch,
    # Its remarks on its own settings are not what is tested.
    pytest.mark.filterwarnings("default::elasticsearch.exceptions.ElasticsearchWarning"),
    # All on one worker, for they make and delete the same indices.
    pytest.mark.xdist_group("elasticsearch"),
]


@dataclass(frozen=True)
class Cluster:
    """The cluster of --es-url, and what the server that it finds serves."""

    client: Elasticsearch
    release: Version | None
    model: Model
    server_url: str
    server_key: str
    lexical: bool


@pytest.fixture(scope="module")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    url = pytestconfig.getoption("--es-url")
    need(pytestconfig, "elasticsearch", available=bool(url), why="a real one, by --es-url")
    model = MODELS.models[pytestconfig.getoption("--model") or "nano"]
    api_key, ca_certs = map(pytestconfig.getoption, ("--es-api-key", "--es-ca-certs"))
    with connect(url, api_key, ca_certs) as client:
        yield Cluster(
            client,
            version(client),
            model,
            (pytestconfig.getoption("--server-url") or compose_url(model)).rstrip("/"),
            pytestconfig.getoption("--api-key") or "unused",
            pytestconfig.getoption("--weights") == "synthetic",
        )


def apply_way(cluster: Cluster, way: str) -> None:
    """Send a way's file, and see that every search finds its document."""
    findings = run_way(
        cluster.client,
        MODELS,
        cluster.model,
        CORPUS,
        way,
        server_url=cluster.server_url,
        server_key=cluster.server_key,
        lexical=cluster.lexical,
    )
    assert {each.wanted for each in findings} == {each.finds for each in CORPUS.searches}
    assert [each for each in findings if not each.right] == []


@pytest.mark.parametrize("way", WAYS)
def test_each_search_finds_its_document_also_the_second_time(
    cluster: Cluster, way: str, pytestconfig: pytest.Config
) -> None:
    releases = " or ".join(FIRST_RELEASES[way])
    available = works_with(way, cluster.release)
    need(pytestconfig, f"elasticsearch-{way}", available=available, why=f"it came with {releases}")
    apply_way(cluster, way)
    apply_way(cluster, way)


@pytest.mark.parametrize(
    ("way", "suffix", "size"),
    [("classic", "-classic", None), ("classic", "-classic-32", 32), ("dense-vector", "-256", 256)],
)
def test_stored_vectors_are_whole_and_of_length_one(
    cluster: Cluster, way: str, suffix: str, size: int | None
) -> None:
    apply_way(cluster, way)
    index = f"jina-example-{cluster.model.name}{suffix}"
    body = {"size": 10, "fields": ["content_embedding"], "_source": ["content"]}
    answer = send(cluster.client, Request("POST", f"{index}/_search", body, {}, "this test"))
    hits = answer["hits"]["hits"]
    assert {hit["_id"] for hit in hits} == {document.id for document in CORPUS.documents}
    stored = np.array([hit["fields"]["content_embedding"] for hit in hits], dtype=np.float64)
    assert stored.shape == (len(CORPUS.documents), size or cluster.model.dims)
    # float32 keeps 24 bits.
    assert np.linalg.norm(stored, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert {frozenset(hit["_source"]) for hit in hits} == {frozenset({"content"})}


@pytest.mark.parametrize(
    ("route", "dimensions", "message"),
    [
        ("/v1/embeddings", 100, "has no size 100"),
        ("/nowhere/v1/embeddings", 32, "nothing answers at"),
        (None, 32, "cannot reach the embedding server"),
    ],
    ids=["no such size", "no such path", "nobody there"],
)
def test_an_endpoint_that_cannot_be_says_why(
    cluster: Cluster, route: str | None, dimensions: int, message: str
) -> None:
    """Elasticsearch's real errors are the ones that tools/search/elasticsearch/reasons.py knows."""
    # Port 9 is "discard", on which nothing listens in Elasticsearch's container.
    url = f"{cluster.server_url}{route}" if route else "http://127.0.0.1:9/v1/embeddings"
    body: dict[str, Any] = {
        "service": "openai",
        "service_settings": {
            "api_key": cluster.server_key,
            "model_id": "a-model",
            "url": url,
            "dimensions": dimensions,
        },
    }
    path = "_inference/text_embedding/jina-example-refused"
    refused = Request("PUT", path, body, {}, "this test")
    with pytest.raises(ToolError, match=message):
        send(cluster.client, refused)
