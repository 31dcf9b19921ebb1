"""What a request asks the toy for beside its input and its side, by the names of every API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.refusals import bad_request

_FORMS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_NAMES = {
    "size": ("dimensions", "output_dimension", "output_dimensionality", "outputDimensionality"),
    "form": ("encoding_format", "embedding_type", "embedding_types", "encoding_type"),
    "dtype": ("output_dtype",),
    "cut": ("truncate", "truncation", "auto_truncate", "truncate_prompt_tokens"),
    "norm": ("normalized", "normalize", "embd_normalize"),
}

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

    size: int | None
    numbers: str
    as_base64: bool
    cut: bool
    norm: int


def said(
    names: Iterable[str], request: Mapping[str, Any], read: Callable[[str, Any], Any]
) -> list[Any]:
    """Return what the fields of these names say, but for those that say nothing."""
    values = [read(name, request[name]) for name in names if name in request]
    return [value for value in values if value is not None]


class ToyFields:
    """Reads them; every method raises RefusalError for what cannot be."""

    def __init__(self, matryoshka: tuple[int, ...]) -> None:
        self.matryoshka = matryoshka

    def read(self, request: Mapping[str, Any]) -> Wanted:
        """Return what a request asks for."""
        self.check_rest(request)
        size = self.one("size", request, self.size)
        form = self.one("form", request, self.form) or "float"
        dtype = self.one("dtype", request, self.dtype)
        as_base64 = form == "base64"
        numbers = "float" if as_base64 else form
        if dtype is not None:
            if numbers not in ("float", dtype):
                self.contradiction("form", "output_dtype")
            numbers = dtype
        norm = self.one("norm", request, self.norm)
        cut = bool(self.one("cut", request, self.cut))
        wanted = Wanted(size, numbers, as_base64, cut, 2 if norm is None else norm)
        has_length_1 = size is not None or numbers in ("int8", "uint8")
        if wanted.norm != 2 and has_length_1:
            raise bad_request("these vectors have length 1")
        return wanted

    def one(self, meaning: str, request: Mapping[str, Any], read: Callable[[str, Any], Any]) -> Any:
        """Return what the fields of a meaning say together; None where none does."""
        values = said(_NAMES[meaning], request, read)
        if any(value != values[0] for value in values):
            self.contradiction(meaning)
        return values[0] if values else None

    def contradiction(self, meaning: str, name: str | None = None) -> None:
        """Refuse a request whose fields do not agree."""
        raise bad_request(f"two fields differ in the {meaning}", name)

    def size(self, name: str, value: Any) -> int:
        if type(value) is not int or value not in self.matryoshka:
            raise bad_request(f"{name} must be one of {list(self.matryoshka)}", name)
        return value

    def form(self, name: str, value: Any) -> str:
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if value not in _FORMS:
            raise bad_request(f"{name} must be a form", name)
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
        if type(value) is not int or not -1 <= value <= 100:
            raise bad_request(f"{name} must be an integer from -1 to 100", name)
        return value

    def check_rest(self, request: Mapping[str, Any]) -> None:
        """Refuse what would change a vector in a way that is not here."""
        for name, harmless in _SO_ANYWAY.items():
            if name in request and not self.is_harmless(request[name], harmless):
                raise bad_request(f"{name} can only be one of {harmless}", name)

    def is_harmless(self, value: Any, harmless: tuple[Any, ...]) -> bool:
        """Whether a value says what is so anyway."""
        return value in harmless
