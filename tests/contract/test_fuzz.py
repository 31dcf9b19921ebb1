"""Five minutes of requests that nobody would write: none is answered 500, none ends the server.

They begin as those of docs/serve/openapi.yaml, and then values and bytes of them are changed. They
go to every route, those that are not served included, by every method; some are not even HTTP.
``test_openapi.py`` asks what is described, as it is described.
``pytest tests/contract/test_fuzz.py -m slow -s`` prints the seed and how many answers there were of
each status; ``--hypothesis-seed SEED`` begins with that seed.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.checks.errors import ROUTES_OF_TEI, assert_refused
from tests.contract.checks.inputs import same
from tests.contract.checks.routes import NOT_SERVED
from tests.contract.checks.sides import DOCUMENT, QUERY
from tests.support import openapi
from tests.support.client import Client, describe, vectors
from tests.support.requirements import need
from tests.support.server import Server
from tests.support.sockets import RawConnection
from tests.support.vectors import cosine
from tools.common.console import say

SECONDS = 300
THREADS = 4

#: All that is described, with the method of each.
DESCRIBED = {path.replace("{model}", "a-model"): method for method, path in openapi.operations()}
#: Embeddings most of the time; the rest of what is served, and what is not, each now and then.
EMBEDDINGS = [
    path for path, method in DESCRIBED.items() if method == "POST" and "token" not in path
]
PATHS = (
    ["/v1/embeddings"] * 60
    + EMBEDDINGS * 10
    + ["/tokenize", "/detokenize"] * 4
    + [*DESCRIBED, *NOT_SERVED]
    + ["/models/%00", "/v1/models/..%2f..", "/v1/embeddings/", "/%ff"]
)
#: From the bodies that these take the others' are made, too.
BODIES_OF = ("/v1/embeddings", "/embed", "/similarity", "/tokenize", "/detokenize")
#: How many bodies of each there are to begin with.
BODIES = 150
METHODS = ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "GET", "POST"]
HEADERS: dict[str, list[str]] = {
    "X-Request-Id": ["an-id", "two words", "x" * 200, '";quoted"'],
    "Origin": ["https://page.example", "null", ""],
    "Expect": ["100-continue"],
    "Accept-Encoding": ["gzip, br, zstd", "identity;q=0"],
    "Range": ["bytes=0-1", "bytes=-"],
    "Connection": ["close", "keep-alive, upgrade"],
    "Upgrade": ["websocket", "h2c"],
    "Content-Encoding": ["gzip", "identity"],
}
CONTENT_TYPES = ["application/json"] * 8 + [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=X",
    "multipart/form-data",
]
TEXTS = [
    "a text",
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "海滩👩\u200d👧",
    "قاعدة",
    "\u202e\ufeff\uffff",
    "<|endoftext|><|im_start|><s></s>",
    QUERY,
    QUERY + "a text",
    DOCUMENT + QUERY,
    "word " * 60,
    "x" * 900,
]
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    64,
    2**31,
    -(2**31) - 1,
    2**63,
    2**64,
    10**30,
    1.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    *TEXTS,
]
#: Fields of llama-server's own routes, which are not described.
UNKNOWN: dict[str, Any] = {
    "stream": True,
    "n_predict": 1,
    "grammar": "root ::= " + "(" * 2000,
    "id_slot": 99,
}


def odd_value(rng: random.Random, depth: int = 0) -> Any:
    """Return any JSON value, nested up to a few levels."""
    kind = rng.random()
    if depth > 3 or kind < 0.7:
        return rng.choice(ODD)
    if kind < 0.88:
        return [odd_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = ["prompt_string", "multimodal_data", "content", "text", "type", "input", ""]
    return {key: odd_value(rng, depth + 1) for key in rng.sample(keys, rng.randrange(4))}


def bodies(server: Server, seed: int) -> dict[str, list[Any]]:
    """Return requests of each kind that are made from the description."""
    made: dict[str, list[Any]] = {path: [] for path in BODIES_OF}
    schema = openapi.described(server, "a-model")
    for path, found in made.items():

        def keep(case: openapi.Request, found: list[Any] = found) -> None:
            found.append(case.body)

        openapi.each_example(
            schema[path]["POST"], openapi.VALID, number=BODIES, seed=f"{seed} {path}", try_one=keep
        )
    return made


def request(rng: random.Random, known: list[Any], context: int) -> Any:
    """Return one of the known requests, with odd values at a few places."""
    if rng.random() < 0.03:
        return odd_value(rng)
    body = dict(rng.choice(known))
    if rng.random() < 0.3:
        body[rng.choice(sorted(body) or ["input"])] = odd_value(rng)
    if rng.random() < 0.1:
        name = rng.choice(sorted(UNKNOWN))
        body[name] = UNKNOWN[name]
    if rng.random() < 0.2:
        texts = [name for name in ("input", "inputs", "content") if name in body]
        body[texts[0] if texts else "input"] = rng.choice(TEXTS)
    if rng.random() < 0.02:
        body = {"input": [[1] * (context + rng.randrange(1, 5))]}  # refused before it costs time
    return body


def mutated(rng: random.Random, body: bytes) -> bytes:
    """Return the bytes with a few cut out, doubled, exchanged or put in."""
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randrange(20))
        match rng.randrange(5):
            case 0:
                del changed[at:end]
            case 1:
                changed[at:at] = changed[at:end]
            case 2:
                changed[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 3:
                changed[at:at] = rng.choice([b"[", b"{", b'"', b"\\u", b"1e9", b"null", b",", b"]"])
            case 4:
                del changed[at:]
    return bytes(changed)


def content(rng: random.Random, known: list[Any], context: int) -> bytes:
    """Return the body of a request."""
    kind = rng.random()
    if kind < 0.02:
        return rng.randbytes(rng.randrange(200))
    if kind < 0.03:
        return b'{"input": ' + b"[" * rng.choice([10, 199, 200, 100_000])
    body = json.dumps(request(rng, known, context), ensure_ascii=rng.random() < 0.8)
    encoded = body.encode("utf-8", "surrogatepass")
    if rng.random() < 0.05:
        part = b'--X\r\nContent-Disposition: form-data; name="input"\r\n\r\n'
        encoded = part + encoded + b"\r\n--X--\r\n"
    return mutated(rng, encoded) if rng.random() < 0.3 else encoded


@dataclass(frozen=True)
class Sent:
    """One request of the fuzz, as HTTP or, where ``raw``, with bytes of it changed."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    raw: bool


def sent(rng: random.Random, made: dict[str, list[Any]], context: int) -> Sent:
    """Return any request."""
    path = rng.choice(PATHS)
    method = DESCRIBED.get(path, "POST") if rng.random() < 0.9 else rng.choice(METHODS)
    headers = {name: rng.choice(HEADERS[name]) for name in HEADERS if rng.random() < 0.02}
    headers["Content-Type"] = rng.choice(CONTENT_TYPES)
    known = made.get(path) or made["/embed" if ROUTES_OF_TEI.search(path) else "/v1/embeddings"]
    body = content(rng, known, context) if method != "GET" or rng.random() < 0.1 else b""
    return Sent(method, path, headers, body, rng.random() < 0.05)


#: Fields that may ask for other numbers than float32.
FORMS = {"encoding_format", "embedding_type", "embedding_types", "encoding_type", "output_dtype"}


def asked(request: Sent) -> set[str]:
    """The fields of a request; none where its body is not an object."""
    try:
        body = json.loads(request.body)
    except ValueError:
        return set()
    return set(body) if isinstance(body, dict) else set()


def check(request: Sent, response: httpx.Response) -> None:
    """An answer is a success with vectors, or a refusal that says why; and has an id."""
    assert response.status_code < 500, describe(response)
    assert response.headers.get("X-Request-Id"), describe(response)
    if request.method == "HEAD" or response.status_code in (204, 206):  # nothing, or a part
        return
    if response.status_code >= 400:
        assert_refused(response)
    elif request.path in EMBEDDINGS:
        body = response.json()
        if isinstance(body, dict) and not FORMS & asked(request):  # others are lists
            assert np.isfinite(vectors(body)).all(), describe(response)
    elif request.path != "/metrics":
        response.json()


def send_raw(rng: random.Random, server: Server, request: Sent) -> None:
    """Send it with bytes changed, read what comes within a moment, and leave."""
    lines = [f"{request.method} {request.path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(request.body)}"]
    head = mutated(rng, "\r\n".join([*lines, "", ""]).encode())
    with RawConnection(server.base_url, timeout=1) as connection:
        try:
            connection.send(head + request.body)
            said = connection.socket.recv(65536)
        except (TimeoutError, ConnectionError):
            return
    assert said == b"" or said.startswith(b"HTTP/1."), said
    assert b" 500 " not in said.partition(b"\r\n")[0], said


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
def test_nothing_is_answered_500(server: Server, pytestconfig: pytest.Config) -> None:
    need(pytestconfig, "patches", available=not server.bare, why="the bare server answers 500")
    seed = openapi.seed(pytestconfig)
    say(f"\nfuzz: --hypothesis-seed {seed}")
    made = bodies(server, seed)
    deadline = time.monotonic() + SECONDS

    def send_for_a_while(number: int) -> Counter[int]:
        rng = random.Random(f"{seed} {number}")
        statuses: Counter[int] = Counter()
        with Client(server.base_url, server.api_key) as client:
            while time.monotonic() < deadline:
                one = sent(rng, made, server.model.context)
                try:
                    if one.raw:
                        send_raw(rng, server, one)
                        continue
                    response = client.request(
                        one.method, one.path, content=one.body, headers=one.headers
                    )
                    check(one, response)
                except (AssertionError, ValueError, httpx.HTTPError, OSError) as error:
                    raise AssertionError(f"seed {seed}: {one}: {error!r}") from error
                statuses[response.status_code] += 1
        return statuses

    with Client(server.base_url, server.api_key) as client:
        before = client.embed(["a good request"])
        with ThreadPoolExecutor(THREADS) as pool:
            totals = sum(pool.map(send_for_a_while, range(THREADS)), Counter())
        after = client.embed(["a good request"])
    say(f"fuzz: {totals.total()} requests, by status {dict(sorted(totals.items()))}")
    assert cosine(before, after).min() >= same(server)
    # Both kinds must have been met in numbers, or the requests were not what they should be.
    assert min(totals[200], totals[400]) > totals.total() // 10, totals
