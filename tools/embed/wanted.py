"""What is asked of the server for each text, and how its answer is read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.common.errors import ToolError

PATH = "/v1/embeddings"
SIDES = ("document", "query")
#: The API's names of the numbers of a vector, and what they are here.
TYPES = {"float": "<f4", "int8": "|i1", "uint8": "|u1", "binary": "|i1", "ubinary": "|u1"}

Vectors = NDArray[Any]


@dataclass(frozen=True)
class Wanted:
    """The vectors that a job asks for; without ``dimensions`` the size is the server's own."""

    model: str
    side: str
    dimensions: int | None
    type: str
    truncate: bool

    def body(self, texts: Sequence[str]) -> bytes:
        """Return the request for the vectors of texts."""
        fields: dict[str, Any] = {
            "model": self.model,
            "input": list(texts),
            "input_type": self.side,
            "output_dtype": self.type,
            # A tenth of the time that decimal numbers take to be read.
            "encoding_format": "base64",
        }
        if self.dimensions is not None:
            fields["dimensions"] = self.dimensions
        if self.truncate:
            fields["truncate"] = True
        return json.dumps(fields, ensure_ascii=False).encode()

    def read(self, content: bytes, count: int) -> Vectors:
        """Return the ``count`` vectors of an answer, a row each.

        Raises ToolError where it does not hold them, or another model computed them.
        """
        try:
            answer = json.loads(content)
            model = answer["model"]
            places = [item["index"] for item in answer["data"]]
            found = [base64.b64decode(item["embedding"]) for item in answer["data"]]
        except (ValueError, KeyError, TypeError, binascii.Error):
            said = content[:200].decode(errors="replace")
            raise ToolError(f"the answer has no vectors in base64: {said}") from None
        if model != self.model:
            raise ToolError(
                f"the answer is of the model {model}, and this job's is {self.model}; vectors of "
                "two models must not be mixed"
            )
        if places != list(range(count)) or len({len(each) for each in found}) != 1:
            raise ToolError(f"the answer to {count} texts does not have a vector for each")
        return np.frombuffer(b"".join(found), dtype=TYPES[self.type]).reshape(count, -1)
