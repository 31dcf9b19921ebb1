"""The toy's answers on Cohere's routes, in Cohere's form."""

from __future__ import annotations

import secrets
from typing import Any

from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.embeddings import ToyEmbeddings

#: Where Cohere embeds, and which version of its API that is.
PATHS = {"/v1/embed": "1", "/v2/embed": "2"}

#: What its API lacks, or has other names for.
_UNKNOWN = ("input", "inputs", "content", "encoding_format", "embedding_type", "output_dtype")


class ToyCohere:
    """Answers as Cohere's API does."""

    def __init__(self, embeddings: ToyEmbeddings) -> None:
        self.embeddings = embeddings

    def answer(self, version: str, body: bytes) -> dict[str, Any]:
        """Return the answer to a request; raises RefusalError."""
        request = self.embeddings.parse(body)
        texts = self.texts(request)
        forms = request.pop("embedding_types", [] if version == "1" else ["float"])
        found = {}
        answer: dict[str, Any] = {}
        for form in forms or ["float"]:
            asked = {**request, "input": texts, "embedding_types": [form]}
            answer = self.embeddings.answer(asked)
            found[form] = [each["embedding"] for each in answer["data"]]
        meta = {
            "api_version": {"version": version},
            "billed_units": {"input_tokens": answer["usage"]["prompt_tokens"]},
            **self.warnings([each.get("truncated", False) for each in answer["data"]]),
        }
        return {
            "id": secrets.token_hex(8),
            "embeddings": found if forms else found["float"],
            "texts": texts,
            "meta": meta,
            "response_type": "embeddings_by_type" if forms else "embeddings_floats",
        }

    def texts(self, request: dict[str, Any]) -> list[str]:
        """Take the texts out of a request; raises RefusalError where that is not Cohere's."""
        for name in _UNKNOWN:
            if name in request:
                raise bad_request(f"{name} is not known here", name)
        self.check_side(request)
        texts = request.pop("texts", None)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise bad_request("texts must be a list of texts", "texts")
        return texts

    def check_side(self, request: dict[str, Any]) -> None:
        """Refuse a request without a side, which every text has at Cohere."""
        if not request.get("input_type"):
            raise bad_request("input_type is missing", "input_type")

    def warnings(self, cut: list[bool]) -> dict[str, list[str]]:
        """Return what is said of texts that were cut."""
        said = [f"texts[{number}] was cut" for number, is_cut in enumerate(cut) if is_cut]
        return {"warnings": said} if said else {}

    def error(self, refusal: RefusalError) -> dict[str, Any]:
        """Return the body of a refusal."""
        return {"id": secrets.token_hex(8), "message": str(refusal)}
