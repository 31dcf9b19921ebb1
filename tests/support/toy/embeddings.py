"""The toy's answer to a request for embeddings, in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.refusals import bad_request
from tests.support.toy.fields import ToyFields
from tests.support.toy.forms import ToyForms
from tests.support.toy.identity import ToyIdentity
from tests.support.toy.inputs import ToyInputs
from tests.support.toy.metrics import ToyMetrics
from tests.support.toy.model import ToyModel, Vector
from tests.support.toy.sides import ToySides


@dataclass
class ToyEmbeddings:
    """Embeds what a request gives, with the parts that read it and shape the vectors."""

    identity: ToyIdentity
    toy: ToyModel
    inputs: ToyInputs
    sides: ToySides
    fields: ToyFields
    forms: ToyForms
    metrics: ToyMetrics

    def parse(self, body: bytes) -> dict[str, Any]:
        """Return the request; raises RefusalError where the body is none."""
        request = self.merged(self.loaded(body))
        if "input" in request and "content" in request:
            raise bad_request("both input and content")
        # Null is as good as absent, but for the input.
        request = {name: value for name, value in request.items() if value is not None}
        if not isinstance(request.get("model", ""), str):
            raise bad_request("model must be a string")
        return request

    def merged(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with what is in its extra_body; RefusalError where they differ."""
        more = request.pop("extra_body", None) or {}
        if not isinstance(more, dict):
            raise bad_request("extra_body must be an object", "extra_body")
        if any(request.get(name, value) != value for name, value in more.items()):
            raise bad_request("extra_body says something else", "extra_body")
        return {**request, **more}

    def loaded(self, body: bytes) -> dict[str, Any]:
        """Return the object that a body is; raises RefusalError where it is none."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            # In Latin-1 every byte is a letter.
            raise bad_request(f"not JSON: {body[:100].decode('latin-1')}") from None
        if not isinstance(request, dict):
            raise bad_request("the body must be a JSON object")
        return request

    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        """Return the answer to a request that was parsed; raises RefusalError."""
        name = self.identity.named(request.get("model", ""))
        given = self.inputs.each(request.get("content", request.get("input")))
        side = self.sides.read(request, path_side)
        wanted = self.fields.read(request)
        if side:
            given = [self.sides.prefixed(each, side) for each in given]
        elif "content" not in request:  # llama.cpp's own form has no prefixes
            given = [self.sides.implied(each) for each in given]
        whole = [self.inputs.read(each, at) for at, each in enumerate(given)]
        used = [self.inputs.fit(tokens, cut=wanted.cut) for tokens in whole]
        vectors = self.batch([self.forms.shaped(self.toy.embed(tokens), wanted) for tokens in used])
        count = self.count(used, side)
        self.metrics.embedded(len(used), count)
        return {
            "object": "list",
            "model": name,
            "usage": {"prompt_tokens": count, "total_tokens": count},
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": self.forms.written(vectors[index], wanted),
                    **self.inputs.truncation(
                        asked=wanted.cut, whole=whole[index], used=used[index]
                    ),
                }
                for index in range(len(used))
            ],
        }

    def batch(self, vectors: list[Vector]) -> list[Vector]:
        """Return the vectors of a request, each at the place of its input."""
        return vectors

    def count(self, inputs: list[list[int]], side: str | None) -> int:
        """Return the tokens that ``usage`` counts, a side's prefixes included."""
        return sum(map(len, inputs))
