"""What Elasticsearch's errors mean here, each in one sentence that says what to do.

The texts that are recognised are those of Elasticsearch's own source (x-pack/plugin/inference,
x-pack/plugin/core, DenseVectorFieldMapper), which wraps the cause in several layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tools.common.errors import ToolError
from tools.search.elasticsearch.console_file import Request

#: Patterns over everything that the answer says, the most telling first. The sentences may use
#: the groups of the pattern.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"current license is non-compliant for \[([^\]]+)\]",
        "the cluster's licence does not include {0}: since Elasticsearch 8.18 and 9.0 models of "
        "others take a trial or Enterprise licence; start the 30 days' trial with "
        "`POST _license/start_trial?acknowledge=true`",
    ),
    (
        r"embeddings size \[(\d+)\] does not match the size specified in the settings \[(\d+)\]",
        "the embedding server answers with {0} dimensions where {1} are asked for: it serves "
        "another model than this file is for, or its image was built with --no-patches",
    ),
    (
        r"`dimensions` must be one of ([\d, ]+), not (\d+)",
        "the embedding server's model has no size {1}, only {0}: it serves another model than "
        "this file is for",
    ),
    (
        r"authentication error status code for request from inference entity id",
        "the embedding server wants another key: set LLAMA_API_KEY as it is set for the server; in "
        'a pasted file, write the key in the place of "unused"',
    ),
    (
        r"Resource not found at \[([^\]]+)\]",
        "nothing answers at {0}: the address is wrong, or the server there is llama-server "
        "without our patches, which has no /document and /query",
    ),
    (
        r"Invalid host \[|[Ff]ailed to send request|Connection refused|Name or service not known"
        r"|No route to host|Connection reset|timed out",
        "Elasticsearch cannot reach the embedding server, or not in time: the address must be "
        "right as seen from Elasticsearch (in a container, localhost is Elasticsearch itself); "
        "join its network and take the name there, or say the address with --server-url",
    ),
    (
        r"is referenced by (?:pipelines|indexes)",
        "something else in this cluster uses the example's endpoint: delete that first, or keep "
        "it and leave this example",
    ),
    (
        r"Invalid chunkingStrategy none|Unknown service \[custom\]",
        "this Elasticsearch is too old for the file: semantic-text and custom need 8.19 or 9.1, "
        "classic and dense-vector work from 8.15 on",
    ),
    (
        r"can only be used with unit-length vectors",
        "a vector is not of length 1: a cut vector must be scaled again, as the pipelines and "
        "the server's `dimensions` do",
    ),
    (
        r"different number of dimensions \[\d+\] than (?:defined in|the document vectors)",
        "a vector's size is not the field's: the index was made for another size; run the whole "
        "file, which makes it afresh",
    ),
    (
        r"is unauthorized for (?:API key|user)",
        "the key may not do this: it needs the cluster privileges manage_inference and "
        "manage_ingest_pipelines, and all privileges on the indices jina-example-*",
    ),
    (
        r"compatible-with|media_type_header_exception",
        "this Elasticsearch is of a version that the client does not speak: it takes 8.15 to 9",
    ),
)


def explain(request: Request, status: int, body: Any) -> ToolError:
    """Return the error to raise for an answer that is a refusal; ``body`` is its JSON or text."""
    said = list(dict.fromkeys(_reasons(body))) or [str(body)[:400]]
    meaning = _meaning(status, "\n".join(said))
    what = f"{request.where}: {request.method} {request.path} was answered {status}"
    # The first reason is what was wrong with the request, the last its deepest cause.
    quoted = " ... ".join(dict.fromkeys((said[0], said[-1])))
    return ToolError(
        f"{what}: {meaning}\nElasticsearch said: {quoted}"
        if meaning
        else f"{what}\nElasticsearch said: {quoted}"
    )


def _meaning(status: int, said: str) -> str | None:
    for pattern, sentence in _MEANINGS:
        if found := re.search(pattern, said):
            return sentence.format(*found.groups())
    if status == 401:
        return "Elasticsearch does not take the key; --api-key is an encoded API key of its own"
    if status == 429:
        return "the cluster has more to do than it takes; try again later"
    return None


def _reasons(value: Any) -> Iterator[str]:
    """Yield every reason in an answer, from the outermost to the deepest."""
    if isinstance(value, list):
        for each in value:
            yield from _reasons(each)
    elif isinstance(value, dict):
        if isinstance(value.get("reason"), str):
            yield value["reason"]
        if isinstance(value.get("error"), str):
            yield value["error"]
        for each in value.values():
            yield from _reasons(each)
