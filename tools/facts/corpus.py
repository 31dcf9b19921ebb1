"""The example corpus of README, demo and tests: ten short documents and five searches."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.common.errors import ToolError

CORPUS_FILE = Path(__file__).resolve().parent / "corpus.toml"


@dataclass(frozen=True)
class Document:
    """One how-to text, without a prefix."""

    id: str
    text: str


@dataclass(frozen=True)
class Search:
    """Two wordings of one search, without a prefix, and the id of the document to find.

    ``text`` shares no telling word with the document; ``lexical`` shares its rare words.
    """

    text: str
    lexical: str
    finds: str


@dataclass(frozen=True)
class Corpus:
    """The documents and the searches, in the order of the file."""

    documents: tuple[Document, ...]
    searches: tuple[Search, ...]


def load_corpus(path: Path = CORPUS_FILE) -> Corpus:
    """Read and check the corpus.

    Raises ToolError naming the file and the key for anything missing, unknown or malformed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ToolError(f"{path} does not exist; run from a complete checkout") from None
    except tomllib.TOMLDecodeError as error:
        raise ToolError(f"{path.name}: not valid TOML: {error}") from None

    _check_keys(path, "", content, {"documents": dict, "searches": list})
    documents = content["documents"]
    _check_keys(path, "documents", documents, dict.fromkeys(documents, str))
    searches = []
    for number, entry in enumerate(content["searches"]):
        where = f"searches[{number}]"
        _check_keys(path, where, entry, {"text": str, "lexical": str, "finds": str})
        search = Search(**entry)
        if search.finds not in documents:
            raise ToolError(f"{path.name}: {where}.finds: no document has the id {search.finds!r}")
        searches.append(search)
    return Corpus(
        documents=tuple(Document(key, text) for key, text in documents.items()),
        searches=tuple(searches),
    )


def _check_keys(path: Path, where: str, table: Any, kinds: dict[str, type]) -> None:
    """Refuse a table that has not exactly these keys, each of its kind and not empty."""
    if not isinstance(table, dict):
        raise ToolError(f"{path.name}: {where} must be a table")
    prefix = f"{where}." if where else ""
    for key, kind in kinds.items():
        if key not in table:
            raise ToolError(f"{path.name}: {prefix}{key}: is missing")
        if not isinstance(table[key], kind) or not table[key]:
            raise ToolError(
                f"{path.name}: {prefix}{key}: must be a {kind.__name__} that is not empty, "
                f"found {table[key]!r}"
            )
    unknown = table.keys() - kinds.keys()
    if unknown:
        raise ToolError(f"{path.name}: {prefix}{min(unknown)}: unknown key")
