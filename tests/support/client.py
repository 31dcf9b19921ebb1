"""A thin client for llama-server, which every suite uses."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.support.samples import Samples

#: A text, or a text already made into tokens.
Input = str | list[int]

#: A request of full context takes most of a minute on a small CPU, and waits for those before it.
TIMEOUT_SECONDS = 600.0

#: Shared, because making one takes longer than most requests.
_TLS = ssl.create_default_context()


class Client:
    """One connection pool to one server; use it as a context manager."""

    def __init__(
        self, base_url: str, api_key: str | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # Environment proxies are for the outside world, not for the server under test.
        self._http = httpx.Client(
            base_url=base_url, headers=headers, timeout=timeout, trust_env=False, verify=_TLS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send any request and return the answer, whatever its status."""
        return self._http.request(method, path, **options)

    def embeddings(self, inputs: Input | Sequence[Input], **fields: Any) -> dict[str, Any]:
        """Return the body that ``/v1/embeddings`` answers; ``fields`` go into the request."""
        body: dict[str, Any] = _json(
            self.request("POST", "/v1/embeddings", json={"input": inputs, **fields})
        )
        return body

    def embed(self, inputs: Sequence[Input], **fields: Any) -> NDArray[np.float32]:
        """Return the vectors of a list of inputs, one row each, in the order of the answer."""
        return vectors(self.embeddings(inputs, **fields))

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Return the tokens of a text, by default with those that the model adds by itself."""
        request = {"content": text, "add_special": add_special}
        tokens: list[int] = _json(self.request("POST", "/tokenize", json=request))["tokens"]
        return tokens

    def models(self) -> list[str]:
        """Return the names that ``/v1/models`` lists."""
        return [model["id"] for model in _json(self.request("GET", "/v1/models"))["data"]]

    def samples(self) -> Samples:
        """Return all that ``/metrics`` says."""
        response = self.request("GET", "/metrics")
        assert response.status_code == 200, describe(response)
        return Samples.read(response.text)

    def metrics(self) -> dict[str, float]:
        """Return the samples of ``/metrics`` that carry no labels, by name."""
        return {sample.name: sample.value for sample in self.samples().all if not sample.labels}


def vectors(body: dict[str, Any]) -> NDArray[np.float32]:
    """Return the vectors in an answer of ``/v1/embeddings``, as float or as base64."""
    return np.array([_vector(item["embedding"]) for item in body["data"]], dtype=np.float32)


def vectors_of_any_api(body: Any) -> NDArray[np.float32]:
    """Return the vectors in an answer of OpenAI's form, Cohere's or text-embeddings-inference's."""
    if isinstance(body, dict) and "data" in body:
        return vectors(body)
    found = body["embeddings"] if isinstance(body, dict) else body
    found = found["float"] if isinstance(found, dict) else found
    return np.array([_vector(each) for each in found], dtype=np.float32)


def _vector(embedding: str | list[float]) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.array(embedding, dtype=np.float32)


def describe(response: httpx.Response) -> str:
    """Say what was asked and answered, for an assertion's message."""
    request = response.request
    return f"{request.method} {request.url.path}: {response.status_code} {response.text[:400]}"


def _json(response: httpx.Response) -> Any:
    assert response.status_code == 200, describe(response)
    return response.json()
