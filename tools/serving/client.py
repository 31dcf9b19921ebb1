"""Ask a running embedding server for vectors, with errors that say what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tools.common.errors import ToolError

_REQUEST_SECONDS = 60


def own_key() -> str | None:
    """Return the key in LLAMA_API_KEY, of several the first; None where it has none."""
    return os.environ.get("LLAMA_API_KEY", "").partition(",")[0] or None


@dataclass(frozen=True)
class EmbeddingServer:
    """Where a server of ours answers, and the key that it wants, if any."""

    base_url: str
    api_key: str | None = None

    def model(self) -> str:
        """Return the name of the model that is served. Raises ToolError when none answers."""
        return str(self._ask("GET", "/v1/models")["data"][0]["id"])

    def embed(
        self,
        texts: Sequence[str],
        *,
        side: str | None = None,
        dimensions: int | None = None,
        form: str = "float",
    ) -> NDArray[np.float32]:
        """Return the vectors of texts, shape (len(texts), dimensions).

        ``side`` is query or document, whose prefix the server then adds; without ``dimensions``
        the size is the server's own. ``form`` is one of the API's that are lists of numbers; those
        of bits have a number for eight dimensions. Raises ToolError when the server does not
        answer with such vectors.
        """
        body: dict[str, Any] = {"input": list(texts), "encoding_format": form}
        if dimensions is not None:
            body["dimensions"] = dimensions
        path = f"/{side}/v1/embeddings" if side else "/v1/embeddings"
        answer = self._ask("POST", path, body)
        vectors = np.array([item["embedding"] for item in answer["data"]], dtype=np.float32)
        wanted = (len(texts), dimensions or vectors.shape[-1])
        if dimensions and form in ("binary", "ubinary"):
            wanted = (len(texts), dimensions // 8)
        if vectors.shape != wanted:
            raise ToolError(
                f"the server at {self.base_url} answered with {vectors.shape} numbers instead of "
                f"{wanted}; was its image built with --no-patches?"
            )
        return vectors

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        address = self.base_url.rstrip("/") + path
        try:
            response = httpx.request(
                method,
                address,
                json=body,
                headers=headers,
                timeout=_REQUEST_SECONDS,
                # A proxy of the environment is for the outside world.
                trust_env=False,
            )
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
        except httpx.HTTPStatusError as error:
            raise _refusal(address, error.response) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ToolError(
                f"no embedding server answers at {address} ({error}); "
                "`nox -s up -- nano` starts one, at http://localhost:8080"
            ) from None
        return answer


def _refusal(address: str, response: httpx.Response) -> ToolError:
    if response.status_code in (401, 403):
        return ToolError(f"{address} wants a key; set LLAMA_API_KEY to one that it knows")
    if response.status_code == 404:
        return ToolError(
            f"nothing answers {address}: is it a server of ours, with our patches, and is the "
            "address given without /v1?"
        )
    return ToolError(f"{address} answered {response.status_code}: {error_message(response.text)}")


def error_message(answer: str) -> str:
    """Return the message of an error in OpenAI's form, or the beginning of any other."""
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer[:200]
