"""Reads Kibana Console files: requests, and the comments before them that the runner understands.

The part of Console's syntax that our files use: "# comments", a line "METHOD path" for each
request, a body in JSON, in which a text of several lines may stand in triple quotes, and for
_bulk one JSON value a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.common.errors import ToolError

_START = re.compile(r"(GET|POST|PUT|DELETE) (\S+)\s*")
_NOTE = re.compile(r"# (search|finds|query_vector): (.+)")
_LONG_TEXT = re.compile(r'"""(.*?)"""', re.DOTALL)


@dataclass(frozen=True)
class Request:
    """One request: ``body`` is None, a JSON value, or for _bulk a list of them.

    ``notes`` are the comments of the form "# word: value" before it: ``search`` is what is
    searched for, ``finds`` the id of the document that must come first, and ``query_vector`` says
    that the vector in the body stands for one in the answer before.
    """

    method: str
    path: str
    body: Any
    notes: Mapping[str, str]
    where: str

    @property
    def is_bulk(self) -> bool:
        return _is_bulk(self.path)


@dataclass
class _Block:
    """A request whose body is still being read."""

    where: str
    method: str
    path: str
    notes: dict[str, str]
    lines: list[str] = field(default_factory=list)


def parse(text: str, name: str) -> list[Request]:
    """Return the requests of a console file; ``name`` is what messages call it.

    Raises ToolError naming the line for text before the first request and for a body that is
    not JSON.
    """
    blocks: list[_Block] = []
    notes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{name}:{number}"
        if line.startswith("#"):
            if note := _NOTE.fullmatch(line):
                notes[note[1]] = note[2]
        elif start := _START.fullmatch(line):
            blocks.append(_Block(where, start[1], start[2], notes))
            notes = {}
        elif blocks:
            blocks[-1].lines.append(line)
        elif line.strip():
            raise ToolError(f"{where}: text before the first request: {line.strip()[:60]}")
    return [
        Request(block.method, block.path, _body(block), block.notes, block.where)
        for block in blocks
    ]


def _is_bulk(path: str) -> bool:
    return path.partition("?")[0].endswith("_bulk")


def _body(block: _Block) -> Any:
    text = "\n".join(block.lines).strip()
    if not text:
        return None
    try:
        if _is_bulk(block.path):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(_LONG_TEXT.sub(lambda found: json.dumps(found[1]), text))
    except json.JSONDecodeError as error:
        raise ToolError(
            f"{block.where}: the body of {block.method} {block.path} is not JSON: {error}"
        ) from None
