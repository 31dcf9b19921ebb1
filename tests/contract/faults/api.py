"""Inputs that are misread, and answers that are not what they should be."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.fields import ToyFields, Wanted
from tests.support.toy.forms import ToyForms
from tests.support.toy.identity import ToyIdentity
from tests.support.toy.inputs import ToyInputs, is_token_array
from tests.support.toy.model import ToyModel, Vector

FAULTS = Faults()


@FAULTS.add(
    "ASCII only",
    caught_by={"text_accents", "text_chinese", "text_emoji", "text_right_to_left"},
)
class AsciiOnly(ToyModel):
    def tokens(self, text: str) -> list[int]:
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore")
        return super().tokens(plain.decode())


@FAULTS.add("C strings", caught_by={"text_nul"})
class CStrings(ToyModel):
    def tokens(self, text: str) -> list[int]:
        return super().tokens(text.partition("\0")[0])


@FAULTS.add(
    "control characters dropped", caught_by={"text_newline_only", "text_control_characters"}
)
class ControlCharactersDropped(ToyModel):
    def tokens(self, text: str) -> list[int]:
        kept = [letter for letter in text if unicodedata.category(letter) != "Cc"]
        return super().tokens("".join(kept))


@FAULTS.add(
    "token arrays read as text", caught_by={"token_array", "list_of_token_arrays", "mixed_input"}
)
class TokenArraysReadAsText(ToyInputs):
    def read(self, given: Any, at: int) -> list[int]:
        tokens = super().read(given, at)
        return self.toy.tokens(str(given)) if is_token_array(given) else tokens


@FAULTS.add("strings split into words", caught_by={"single_string"})
class StringsSplitIntoWords(ToyInputs):
    def split(self, given: Any) -> list[Any]:
        return given.split() if isinstance(given, str) else super().split(given)


@FAULTS.add(
    "answers shuffled",
    caught_by={"batch_2_in_order", "batch_64_in_order", "elasticsearch_8.15_classic"},
)
class AnswersShuffled(ToyEmbeddings):
    def batch(self, vectors: list[Vector]) -> list[Vector]:
        return vectors[1:] + vectors[:1]


@FAULTS.add("index from one", caught_by={"batch_1_in_order", "fields"})
class IndexFromOne(ToyEmbeddings):
    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        answer = super().answer(request, path_side)
        return answer | {"data": [each | {"index": each["index"] + 1} for each in answer["data"]]}


@FAULTS.add("batches end at 256", caught_by={"batch_300_in_order"})
class BatchesEndAt256(ToyEmbeddings):
    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        answer = super().answer(request, path_side)
        return answer | {"data": answer["data"][:256]}


@FAULTS.add(
    "usage off by one",
    caught_by={
        "usage_counts_tokens",
        "openai_client",
        "serves_1_tokens",
        "serves_511_tokens",
        "serves_512_tokens",
    },
)
class UsageOffByOne(ToyEmbeddings):
    def count(self, inputs: list[list[int]], side: str | None) -> int:
        return super().count(inputs, side) + 1


@FAULTS.add("fields missing", caught_by={"fields"})
class FieldsMissing(ToyEmbeddings):
    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        answer = super().answer(request, path_side)
        del answer["object"]
        return answer


@FAULTS.add(
    "base64 of float64",
    caught_by={
        "base64_equals_float",
        "openai_client",
        "elasticsearch_request",
        "elasticsearch_9.5_classic",
    },
)
class Base64OfFloat64(ToyForms):
    float_type = "<f8"


@FAULTS.add(
    "dimensions ignored",
    caught_by={"dimensions", "dimensions_from_clients", "elasticsearch_9.5_dense-vector"},
)
class DimensionsIgnored(ToyForms):
    def shortened(self, vector: Vector, wanted: Wanted) -> Vector:
        return vector


@FAULTS.add("dimensions not normalised", caught_by={"dimensions"})
class DimensionsNotNormalised(ToyForms):
    def shortened(self, vector: Vector, wanted: Wanted) -> Vector:
        return vector[: wanted.size]


@FAULTS.add("dimensions refused without a reason", caught_by={"dimensions_refusal_names_sizes"})
class DimensionsRefusedWithoutAReason(ToyFields):
    def size(self, name: str, value: Any) -> int:
        try:
            return super().size(name, value)
        except RefusalError:
            raise bad_request("no", name) from None


@FAULTS.add("null fields refused", caught_by={"null_fields"})
class NullFieldsRefused(ToyEmbeddings):
    def loaded(self, body: bytes) -> dict[str, Any]:
        request = super().loaded(body)
        if None in request.values():
            raise bad_request("a field is null")
        return request


@FAULTS.add("unknown fields refused", caught_by={"elasticsearch_request"})
class UnknownFieldsRefused(ToyEmbeddings):
    def parse(self, body: bytes) -> dict[str, Any]:
        request = super().parse(body)
        if "user" in request:
            raise bad_request("unknown field: user")
        return request


@FAULTS.add("another model's name", caught_by={"models", "fields"})
class AnotherModelsName(ToyIdentity):
    def entry(self) -> dict[str, Any]:
        return super().entry() | {"id": "another-model"}


@FAULTS.add("synthetic weights unnamed", caught_by={"models"})
class SyntheticWeightsUnnamed(ToyIdentity):
    def suffix(self, *, synthetic: bool) -> str:
        return ""


@FAULTS.add("answers under another model's name", caught_by={"fields", "model_named_in_request"})
class AnswersUnderAnotherModelsName(ToyIdentity):
    def named(self, asked: str) -> str:
        return "another-model"
