"""The vectors of bytes and bits that docs/search/elasticsearch.md brings into a cluster.

The recorder that takes them is not Elasticsearch: shown is what it is sent, and that this ranks as
Elasticsearch would rank it, by cosine of the bytes and by the bits that differ.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from tests.support.client import Client
from tests.support.recording_cluster import Sent, recording_cluster
from tests.support.requirements import need
from tests.support.server import Server
from tests.support.vectors import cosine
from tools.facts.corpus import load_corpus
from tools.facts.models import load_models
from tools.facts.paths import ROOT

CORPUS = load_corpus()
NANO = load_models().models["nano"]


def took(sent: Sent) -> tuple[int, Any]:
    """Answer as the official client expects: it reads a bulk's items and a search's hits."""
    if sent.path.startswith("/_bulk"):
        count = len(sent.body.splitlines()) // 2
        return 200, {"errors": False, "items": [{"index": {"status": 201}}] * count}
    return 200, {"hits": {"hits": []}}


@pytest.fixture
def requests(server: Server, pytestconfig: pytest.Config) -> dict[str, list[Sent]]:
    """What the page's program sends, by path."""
    need(pytestconfig, "patches", available=not server.bare, why="built with --no-patches")
    page = (ROOT / "docs" / "search" / "elasticsearch.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    program = program.replace("unused", server.api_key or "unused")
    program = program.replace("768", str(server.model.dims))
    program = program.replace(NANO.served_as, server.model.served_as)
    assert "http://localhost:8080" in program
    program = program.replace("http://localhost:8080", server.base_url)
    with recording_cluster(took) as cluster:
        assert "http://localhost:9200" in program
        program = program.replace("http://localhost:9200", cluster.url)
        names: dict[str, Any] = {}
        exec(compile(program, "docs/search/elasticsearch.md", "exec"), names)  # noqa: S102
        # Where a program ends, its connections do.
        for name in ("documents", "queries", "cluster"):
            names[name].close()
        sent: dict[str, list[Sent]] = {}
        for each in cluster.sent:
            sent.setdefault(each.path.split("?")[0], []).append(each)
    return sent


def rows(requests: dict[str, list[Sent]]) -> list[dict[str, Any]]:
    """The documents of the bulk, in its order."""
    (bulk,) = requests["/_bulk"]
    return [json.loads(line) for line in bulk.body.splitlines()[1::2]]


def test_they_are_what_a_field_of_bytes_or_bits_takes(
    requests: dict[str, list[Sent]], server: Server
) -> None:
    """Whole numbers from -128 to 127, one for each dimension, or one for eight of them."""
    (made,) = requests["/jina-example-compact"]
    fields = json.loads(made.body)["mappings"]["properties"]
    assert {fields[name]["dims"] for name in ("bytes", "bits")} == {server.model.dims}
    sent = rows(requests)
    assert len(sent) == len(CORPUS.documents)
    searched = [json.loads(each.body)["knn"] for each in requests["/jina-example-compact/_search"]]
    for field, size in (("bytes", server.model.dims), ("bits", server.model.dims // 8)):
        vectors = [row[field] for row in sent]
        vectors += [each["query_vector"] for each in searched if each["field"] == field]
        assert len(vectors) == len(CORPUS.documents) + 1
        for vector in vectors:
            assert len(vector) == size
            assert all(type(number) is int and -128 <= number <= 127 for number in vector)


def test_they_rank_as_the_whole_vectors_do(requests: dict[str, list[Sent]], server: Server) -> None:
    """Each search of the corpus finds its document by bytes and by bits."""
    sent = rows(requests)
    in_bytes = np.array([row["bytes"] for row in sent], dtype=np.float64)
    in_bits = np.array([row["bits"] for row in sent], dtype=np.int8).view(np.uint8)
    texts = [each.lexical if server.synthetic else each.text for each in CORPUS.searches]
    ids = [each.id for each in CORPUS.documents]
    with Client(server.base_url, server.api_key) as client:
        for text, search in zip(texts, CORPUS.searches, strict=True):
            fields = {"input": [text], "input_type": "query"}
            by_bytes, by_bits = (
                client.request(
                    "POST", "/v1/embeddings", json={**fields, "output_dtype": form}
                ).json()["data"][0]["embedding"]
                for form in ("int8", "binary")
            )
            nearest = cosine(in_bytes, np.array(by_bytes, dtype=np.float64)).argmax()
            assert ids[int(nearest)] == search.finds
            query = np.array(by_bits, dtype=np.int8).view(np.uint8)
            differ = np.unpackbits(in_bits ^ query, axis=1).sum(axis=1)
            assert ids[int(differ.argmin())] == search.finds
