"""What Elasticsearch would ask of the server, taken from the console files, and whether it works.

The requests are those of Elasticsearch's own source (x-pack/plugin/inference,
OpenAiEmbeddingsRequest and OpenAiEmbeddingsRequestEntity, CustomRequest). The answers are then
ranked by the exact dot product, as an index of that similarity does but for its approximation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import CORPUS, same
from tests.contract.checks.retrieval import MODELS, RIGHT, embed_documents, embed_queries
from tests.support.client import Client, describe, vectors
from tests.support.server import Server
from tests.support.vectors import cosine, truncate
from tools.facts.models import Model
from tools.search.elasticsearch.assets import asset, compose_url
from tools.search.elasticsearch.console_file import parse

CHECKS = Checks()

_NEEDS_PATCHES = {
    "semantic-text": "llama-server knows no sides",
    "dense-vector": "llama-server knows no sides and ignores dimensions",
    "custom": "llama-server knows no sides",
}

#: How far the square of a vector's length may be from 1 where the similarity is dot_product
#: (DenseVectorFieldMapper refuses what is farther).
UNIT = 1e-4

#: What Elasticsearch sends when an endpoint is made, to see what comes back.
CREATION = "how big"


@dataclass(frozen=True)
class Version:
    """How a version of Elasticsearch asks: beside input, model and, where set, dimensions."""

    content_type: str = "application/json"
    fields: Mapping[str, str] = field(default_factory=dict)


VERSIONS = {
    "8.15": Version(),
    "9.0": Version(),
    "9.5": Version("application/json; charset=UTF-8", {"encoding_format": "base64"}),
}


@dataclass(frozen=True)
class Endpoint:
    """An inference endpoint of a console file, as the version would call it."""

    settings: Mapping[str, Any]
    path: str
    version: Version

    def size(self, server: Server) -> int:
        """Return the dimensions that the endpoint's vectors must have."""
        return int(self.settings.get("dimensions", server.model.dims))

    def ask(self, server: Server, client: Client, texts: Sequence[str]) -> NDArray[np.float32]:
        """Send the texts as Elasticsearch would, and return their vectors."""
        if "request" in self.settings:
            filled = self.settings["request"].replace("${input}", json.dumps(list(texts)))
            body = json.loads(filled)
        else:
            body = {
                "input": list(texts),
                "model": self.settings["model_id"],
                "dimensions": self.settings["dimensions"],
                **self.version.fields,
            }
        response = client.request(
            "POST",
            self.path,
            content=json.dumps(body, ensure_ascii=False).encode(),
            headers={
                "Content-Type": self.version.content_type,
                "Authorization": f"Bearer {server.api_key or 'unused'}",
            },
        )
        assert response.status_code == 200, describe(response)
        answer = response.json()
        assert [item["index"] for item in answer["data"]] == list(range(len(texts)))
        found = vectors(answer)
        assert found.shape == (len(texts), self.size(server))
        lengths = np.sum(found.astype(np.float64) ** 2, axis=1)
        assert np.abs(lengths - 1).max() < UNIT, "dot_product takes vectors of length 1 only"
        return found


def endpoints(model: Model, way: str, version: Version) -> tuple[Endpoint, Endpoint]:
    """Return the endpoints of a console file, for documents and for searches."""
    path = asset(model, way)
    found = [
        Endpoint(settings, settings["url"].removeprefix(compose_url(model)), version)
        for request in parse(path.read_text(encoding="utf-8"), path.name)
        if request.method == "PUT" and request.path.startswith("_inference/")
        for settings in [request.body["service_settings"]]
    ]
    return found[0], found[-1]


def searches(server: Server, client: Client, way: str, version: Version) -> None:
    """Each search finds its document, and every vector is that of the text with its prefix.

    Documents go one a request, as from a pipeline, and all in one, as for semantic_text.
    """
    document, query = endpoints(server.model, way, version)
    texts = [search.lexical if server.synthetic else search.text for search in CORPUS.searches]
    # In the classic way pipelines and searches write the prefixes themselves.
    prefixes = (MODELS.document_prefix, MODELS.query_prefix) if way == "classic" else ("", "")
    sent_documents = [prefixes[0] + each.text for each in CORPUS.documents]
    sent_queries = [prefixes[1] + text for text in texts]

    document.ask(server, client, [CREATION])
    batched = document.ask(server, client, sent_documents)
    single = np.concatenate([document.ask(server, client, [text]) for text in sent_documents])
    queries = np.concatenate([query.ask(server, client, [text]) for text in sent_queries])

    bar, size = same(server), document.size(server)
    expected = truncate(embed_documents(client), size)
    assert cosine(batched, expected).min() >= bar
    assert cosine(single, expected).min() >= bar
    assert cosine(queries, truncate(embed_queries(client, texts), size)).min() >= bar
    for documents in (batched, single):
        assert (queries @ documents.T).argmax(axis=1).tolist() == RIGHT
    if way == "classic":
        # What the pipelines of 32 dimensions make of the same vectors; one search is shown.
        short = truncate(queries[:1], 32) @ truncate(single, 32).T
        assert short.argmax(axis=1).tolist() == RIGHT[:1]


for name, version in VERSIONS.items():
    for way in ("classic", "semantic-text", "dense-vector"):
        CHECKS.add(f"elasticsearch_{name}_{way}", xfail=_NEEDS_PATCHES.get(way))(
            partial(searches, way=way, version=version)
        )

# The request is the file's own, whatever the version.
CHECKS.add("elasticsearch_custom", xfail=_NEEDS_PATCHES["custom"])(
    partial(searches, way="custom", version=VERSIONS["9.5"])
)
