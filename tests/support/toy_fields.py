"""What a request asks the toy server for beside its input, by the names of every API."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.refusals import bad_request

Vector = NDArray[np.float64]

_SIDES = {
    **dict.fromkeys(
        ("query", "search", "search_query", "retrieval.query", "RETRIEVAL_QUERY"), "query"
    ),
    **dict.fromkeys(
        (
            "document",
            "ingest",
            "passage",
            "search_document",
            "retrieval.passage",
            "RETRIEVAL_DOCUMENT",
        ),
        "document",
    ),
}
_FORMS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_NAMES = {
    "side": ("input_type", "task", "task_type", "prompt_name", "prompt_type"),
    "size": ("dimensions", "output_dimension", "output_dimensionality", "outputDimensionality"),
    "form": ("encoding_format", "embedding_type", "embedding_types", "encoding_type"),
    "dtype": ("output_dtype",),
    "cut": ("truncate", "truncation", "auto_truncate", "truncate_prompt_tokens"),
    "norm": ("normalized", "normalize", "embd_normalize"),
}
#: The only names that a server knows which has not heard of the other APIs.
_OLD_NAMES = {"input_type", "task", "dimensions", "encoding_format", "truncate", "embd_normalize"}

#: Values that say what is so anyway; every other value of these fields is refused.
_SO_ANYWAY: dict[str, tuple[Any, ...]] = {
    "late_chunking": (False,),
    "return_multivector": (False,),
    "truncation_direction": ("Right",),
    "add_special_tokens": (True,),
    "embed_dtype": ("float32",),
    "endianness": ("native",),
    "modality": ("text",),
    **dict.fromkeys(("max_tokens", "messages", "texts", "inputs"), ()),
    **dict.fromkeys(("title", "instruction", "prompt"), ("",)),
    "images": ([],),
}


@dataclass(frozen=True)
class Wanted:
    """What is asked for; ``norm`` is llama.cpp's number, 2 for length 1 and -1 for none."""

    side: str | None
    size: int | None
    numbers: str
    as_base64: bool
    cut: bool
    norm: int


@dataclass(frozen=True)
class Fields:
    """Reads them, right or with a fault."""

    matryoshka: tuple[int, ...]
    fault: str | None

    def read(self, request: Mapping[str, Any], path_side: str | None) -> Wanted:
        """Return what a request asks for; raises RefusalError for what cannot be."""
        self.check_rest(request)
        side = self.one("side", request, self.side, [path_side] if path_side else [])
        size = self.one("size", request, self.size)
        form = self.one("form", request, self.form) or "float"
        dtype = self.one("dtype", request, self.dtype)
        as_base64 = form == "base64"
        numbers = "float" if as_base64 else form
        if dtype is not None:
            if numbers not in ("float", dtype) and self.fault != "contradictions taken":
                raise bad_request("two forms", "output_dtype")
            numbers = dtype
        norm = self.one("norm", request, self.norm)
        wanted = Wanted(
            None if self.fault == "sides ignored" else side,
            size,
            numbers,
            as_base64,
            bool(self.one("cut", request, self.cut)),
            2 if norm is None else norm,
        )
        has_length_1 = size is not None or numbers in ("int8", "uint8")
        if wanted.norm != 2 and has_length_1 and self.fault != "embd_normalize unchecked":
            raise bad_request("these vectors have length 1")
        return wanted

    def one(
        self,
        meaning: str,
        request: Mapping[str, Any],
        read: Callable[[str, Any], Any],
        said: list[Any] | None = None,
    ) -> Any:
        """Return what the fields of a meaning say together; None where none does."""
        names = _NAMES[meaning]
        if self.fault == "other APIs' fields ignored":
            names = tuple(name for name in names if name in _OLD_NAMES)
        values = [*(said or []), *(read(name, request[name]) for name in names if name in request)]
        values = [value for value in values if value is not None]
        lenient = "wrong sides accepted" if meaning == "side" else "contradictions taken"
        if any(value != values[0] for value in values) and self.fault != lenient:
            raise bad_request(f"two fields differ in the {meaning}")
        return values[0] if values else None

    def side(self, name: str, value: Any) -> str | None:
        if not isinstance(value, str):
            raise bad_request(f"{name} must be a string", name)
        if value in ("", "TASK_TYPE_UNSPECIFIED"):
            return None
        if value not in _SIDES and self.fault != "wrong sides accepted":
            why = "" if self.fault == "tasks refused without a reason" else " for retrieval only"
            raise bad_request(f"{name} cannot be this{why}", name)
        return _SIDES.get(value, "query")

    def size(self, name: str, value: Any) -> int:
        if type(value) is not int or value not in self.matryoshka:
            unsaid = self.fault == "dimensions refused without a reason"
            why = "no" if unsaid else f"{name} must be one of {list(self.matryoshka)}"
            raise bad_request(why, name)
        return value

    def form(self, name: str, value: Any) -> str:
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        known = ("float", "base64") if self.fault == "other APIs' fields ignored" else _FORMS
        if value not in known:
            whole = self.fault == "wrong values sent back whole"
            raise bad_request(f"{name} must be a form" + (f", not {value}" if whole else ""), name)
        return str(value)

    def dtype(self, name: str, value: Any) -> str:
        if value not in _FORMS or value == "base64":
            raise bad_request(f"{name} must be a dtype", name)
        return str(value)

    def cut(self, name: str, value: Any) -> bool:
        if name == "truncate_prompt_tokens" and type(value) is int and value == -1:
            return True
        if isinstance(value, bool) and name != "truncate_prompt_tokens":
            return value
        if value not in ("NONE", "END"):
            raise bad_request(f"{name} must be true, false, NONE or END", name)
        return bool(value == "END")

    def norm(self, name: str, value: Any) -> int | None:
        if name != "embd_normalize":
            if not isinstance(value, bool):
                raise bad_request(f"{name} must be true or false", name)
            return 2 if value else -1
        if self.fault == "embd_normalize unchecked":
            return None
        if type(value) is not int or not -1 <= value <= 100:
            raise bad_request(f"{name} must be an integer from -1 to 100", name)
        return value

    def check_rest(self, request: Mapping[str, Any]) -> None:
        """Refuse what would change a vector in a way that is not here."""
        if self.fault == "other APIs' fields ignored":
            return
        for name, taken in _SO_ANYWAY.items():
            harmless = request.get(name) in taken and self.fault != "harmless fields refused"
            if name in request and not harmless:
                raise bad_request(f"{name} can only be one of {taken}", name)


def written(vector: Vector, wanted: Wanted, fault: str | None) -> list[Any] | str:
    """Write a vector as JSON carries it, which has no NaN: llama-server writes null."""
    numbers: NDArray[Any] = vector.astype(np.float32)
    kind = "f8" if fault == "base64 of float64" else "f4"
    if wanted.numbers != "float" and not (
        wanted.as_base64 and fault == "base64 is always of floats"
    ):
        numbers = _whole(numbers, wanted.numbers, fault)
        kind = "i1"
    if wanted.as_base64:
        return base64.b64encode(numbers.astype(f"<{kind}").tobytes()).decode()
    return [None if np.isnan(number) else number for number in numbers.tolist()]


def _whole(vector: NDArray[np.float32], form: str, fault: str | None) -> NDArray[np.int64]:
    rounded = np.floor if fault == "steps rounded down" else np.rint
    positive = vector > 0
    if fault == "bits in another order":
        positive = positive[::-1]
    packed = np.packbits(positive)
    wraps = fault == "binary wraps around"
    numbers: dict[str, NDArray[Any]] = {
        "int8": np.clip(rounded(vector * 127), -128, 127),
        "uint8": np.clip(rounded((vector + 1) * np.float32(127.5)), 0, 255),
        "ubinary": packed,
        "binary": packed.astype(np.int8) if wraps else packed - 128.0,
    }
    return numbers[form].astype(np.int64)
