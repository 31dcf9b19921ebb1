"""Fields of other APIs that are ignored, or refused without need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contract.checks import fields, forms
from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.fields import ToyFields
from tests.support.toy.inputs import ToyInputs

FAULTS = Faults()

#: The only fields that a server knows which has not heard of the other APIs.
OLD_FIELDS = {
    "input",
    "model",
    "input_type",
    "task",
    "dimensions",
    "encoding_format",
    "truncate",
    "embd_normalize",
}

#: The fields of other APIs that are refused; those of a contradiction are caught apart.
REFUSED = {
    f"refuses_field_{name}" for name in fields.REFUSED if not name.startswith(("two_", "not_"))
} - {"refuses_field_truncate_start"}


@FAULTS.add("extra_body ignored", caught_by={"side_extra_body", "refuses_field_two_in_extra_body"})
class ExtraBodyIgnored(ToyEmbeddings):
    def merged(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in request.items() if name != "extra_body"}


@FAULTS.add(
    "other APIs' fields ignored",
    caught_by=REFUSED
    | {f"form_{name}" for name in forms.FORMS}
    | {"base64_by_every_name", "dtype_and_base64", "sizes_by_every_name", "cuts_by_every_name"}
    | {"side_prompt_name_query", "side_prompt_name_document", "side_task_type_query"},
)
class OtherFieldsIgnored(ToyEmbeddings):
    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        heard = {name: value for name, value in request.items() if name in OLD_FIELDS}
        return super().answer(heard, path_side)


@FAULTS.add("harmless fields refused", caught_by={"harmless_fields"})
class HarmlessFieldsRefused(ToyFields):
    def is_harmless(self, value: Any, harmless: tuple[Any, ...]) -> bool:
        return False


@FAULTS.add(
    "contradictions taken",
    caught_by={f"refuses_field_{name}" for name in fields.REFUSED if name.startswith("two_")}
    - {"refuses_field_two_in_extra_body"},  # which is not told from another field by then
)
class ContradictionsTaken(ToyFields):
    def contradiction(self, meaning: str, name: str | None = None) -> None:
        pass


@FAULTS.add("text objects refused", caught_by={"text_objects"})
class TextObjectsRefused(ToyInputs):
    def text_of(self, given: Any, at: int) -> Any:
        if isinstance(given, dict):
            raise bad_request("an input is an object")
        return given


@FAULTS.add("objects refused without a name", caught_by={"other_objects_are_named"})
class ObjectsRefusedWithoutAName(ToyInputs):
    def text_of(self, given: Any, at: int) -> Any:
        try:
            return super().text_of(given, at)
        except RefusalError:
            raise bad_request("no text") from None


@FAULTS.add(
    "any tokens taken",
    caught_by={"tokens_without_the_end", "replays_librechat_tokens"},
)
class AnyTokensTaken(ToyInputs):
    def check_end(self, tokens: list[int]) -> None:
        pass
