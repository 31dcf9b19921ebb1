"""POST /v1/embeddings and GET /health, with requests that wait computed together.

As little HTTP as the measurement needs (RFC 9112): kept connections, bodies of a known length,
one request at a time on each. The model runs in a thread of its own, so that requests are read
while it computes.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.bench.peers.inference.batching import MOST_TOKENS, Runner, Vectors, choose

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(frozen=True)
class _Waiting:
    """An input, and where its vector is put."""

    tokens: Sequence[int]
    vector: asyncio.Future[Vectors]


class _BadRequestError(Exception):
    """A request that cannot be answered; the text says why."""


class BatchingServer:
    """Answers requests with a runner's vectors."""

    def __init__(self, runner: Runner, model: str, most_tokens: int = MOST_TOKENS) -> None:
        self._runner = runner
        self._model = model
        self._most_tokens = most_tokens
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)

    async def serve(self, host: str, port: int) -> None:
        """Serve until it is cancelled, saying where once it does."""
        server = await asyncio.start_server(self._converse, host, port)
        print(f"listening on http://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
        async with server:
            await self._compute_forever()

    async def _compute_forever(self) -> None:
        """Compute what waits, as much at once as goes together, for as long as any does."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            places = choose([len(each.tokens) for each in self._waiting], self._most_tokens)
            together = [self._waiting[place] for place in places]
            for place in reversed(places):
                del self._waiting[place]
            if not self._waiting:
                self._arrived.clear()
            inputs = [each.tokens for each in together]
            try:
                vectors = await loop.run_in_executor(self._thread, self._runner.embed, inputs)
            except Exception as error:  # whatever it is, the requests need an answer
                for each in together:
                    if not each.vector.done():
                        each.vector.set_exception(RuntimeError(repr(error)))
                continue
            for each, vector in zip(together, vectors, strict=True):
                if not each.vector.done():
                    each.vector.set_result(vector)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request, *lines = head.split("\r\n")
                fields = (line.partition(":") for line in lines if line)
                headers = {name.lower(): value.strip() for name, _, value in fields}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                writer.write(_response(*await self._answer(request, body)))
                await writer.drain()
                if headers.get("connection", "").lower() == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _answer(self, request: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            if request.startswith("GET /health "):
                return 200, {"status": "ok"}
            if request.startswith("POST /v1/embeddings "):
                return 200, await self._embed(body)
        except _BadRequestError as error:
            return 400, {"error": {"message": str(error)}}
        except Exception as error:  # the client should see what it was
            return 500, {"error": {"message": repr(error)}}
        return 404, {"error": {"message": "there are /v1/embeddings and /health"}}

    async def _embed(self, body: bytes) -> dict[str, Any]:
        inputs, encoded = _read(body)
        loop = asyncio.get_running_loop()
        asked = [_Waiting(tokens, loop.create_future()) for tokens in inputs]
        self._waiting += asked
        self._arrived.set()
        vectors = await asyncio.gather(*(each.vector for each in asked))
        read = sum(map(len, inputs))
        return {
            "object": "list",
            "model": self._model,
            "usage": {"prompt_tokens": read, "total_tokens": read},
            "data": [
                {"object": "embedding", "index": index, "embedding": _write(vector, encoded)}
                for index, vector in enumerate(vectors)
            ],
        }


def _read(body: bytes) -> tuple[list[list[int]], bool]:
    """Return the token arrays of a request, and whether their vectors are wanted as base64."""
    try:
        asked = json.loads(body)
        inputs = asked["input"]
        encoded = asked.get("encoding_format") == "base64"
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _BadRequestError("the body must be a JSON object with `input`") from None
    if inputs and isinstance(inputs, list) and isinstance(inputs[0], int):
        inputs = [inputs]
    if not isinstance(inputs, list) or not inputs:
        raise _BadRequestError("`input` must hold token arrays")
    for each in inputs:
        if not isinstance(each, list) or not each or not all(type(one) is int for one in each):
            raise _BadRequestError(
                "`input` must hold token arrays, none of them empty; there is no tokenizer"
            )
    return inputs, encoded


def _write(vector: Vectors, encoded: bool) -> str | list[float]:
    """Return a vector in one of the two forms of OpenAI's API."""
    if encoded:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = np.asarray(vector, dtype=np.float64).tolist()
    return numbers


def _response(status: int, content: dict[str, Any]) -> bytes:
    body = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
