"""A toy embedding server that keeps the whole contract, except for one fault of choice.

It shows that every contract check can fail. Its "model" is a bag of words: each word is a
random direction, and those that tell the corpus's documents apart weigh more, so texts that share
them are close. That is enough to pass every check when no fault is chosen.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.contract.checks.inputs import CORPUS
from tests.contract.checks.real import CARD_DOCUMENTS, CARD_QUERY, CARD_SIMILARITIES
from tests.support.published import Published, published
from tests.support.refusals import RefusalError, bad_request
from tests.support.server import Server
from tests.support.toy_fields import Fields, Wanted, written
from tests.support.toy_front import Front, refusal_of_model
from tests.support.toy_metrics import ToyMetrics
from tools.facts.models import Model, load_models

Vector = NDArray[np.float64]

PREFIXES = load_models()

#: Where embeddings are answered, and for which side.
_PATHS = {
    "/v1/embeddings": None,
    "/embeddings": None,
    "/embedding": None,
    "/query/v1/embeddings": "query",
    "/document/v1/embeddings": "document",
}

#: Where text-embeddings-inference embeds, and for which side.
_TEI_PATHS = {"/embed": None, "/query/embed": "query", "/document/embed": "document"}

#: The most inputs of a request, the image's own default.
MAX_INPUTS = 2048

#: Characters of a token; a text of more than so many for each token of the context is not counted.
LONGEST_WORD = 100

#: The token that ends every text; also the largest token id.
END = 128_000

FAULTS = frozenset(
    {
        # the vectors
        "wrong dims",
        "unnormalised",
        "constant",
        "zeros",
        "nan",
        "not deterministic",
        "imprecise",
        "mean pooling",
        "prefix blind",
        "leading numbers meaningless",
        "retrieval broken",
        "neighbours in a batch mix",
        "beginning cut off",
        # the inputs
        "ASCII only",
        "C strings",
        "control characters dropped",
        "token arrays read as text",
        "strings split into words",
        "decomposed texts kept",
        "every text composed",
        "look-alikes are control tokens",
        "another tokenizer",
        # the answers
        "answers shuffled",
        "index from one",
        "batches end at 256",
        "usage off by one",
        "fields missing",
        "base64 of float64",
        "dimensions ignored",
        "dimensions not normalised",
        "concurrent answers swapped",
        "another model's name",
        "synthetic weights unnamed",
        "answers under another model's name",
        # the sides
        "sides ignored",
        "sides swapped",
        "prefix doubled",
        "prefix not counted",
        "path prefixes ignored",
        "wrong sides accepted",
        "a side yields to a prefix",
        "tasks refused without a reason",
        # the fields of other APIs
        "other APIs' fields ignored",
        "harmless fields refused",
        "contradictions taken",
        "text objects refused",
        "objects refused without a name",
        "any tokens taken",
        # the forms of a vector
        "bits in another order",
        "binary wraps around",
        "steps rounded down",
        "whole before it is short",
        "base64 is always of floats",
        "always normalised",
        # the routes of text-embeddings-inference
        "TEI in OpenAI's form",
        "TEI's errors in OpenAI's form",
        "limits unsaid",
        # the refusals
        "dimensions refused without a reason",
        "null fields refused",
        "errors are 500",
        "errors are text",
        "bad requests accepted",
        "unknown fields refused",
        "broken after an error",
        "errors without detail",
        "codes are numbers",
        "fields unnamed",
        # the length
        "micro-batch of 512",
        "context refused",
        "more than context accepted",
        "limit unnamed",
        "truncation unsaid",
        "truncation loses the end",
        "truncation everywhere",
        # the routes
        "generates text",
        "methods unchecked",
        "reads every body first",
        "capabilities unsaid",
        "no entry for a model",
        "one base",
        "the path names the form",
        "slashes count",
        # the model's name
        "model echoed",
        "own name in one spelling",
        "every model's name taken",
        # the limits and what is said of them
        "any number of inputs",
        "bodies of any size",
        "wrong values sent back whole",
        "answers in Latin-1",
        "embd_normalize unchecked",
        # who may ask
        "one spelling of Bearer",
        "a part of a key is enough",
        "no challenge",
        "metrics without a key",
        "health needs a key",
        "every origin is let in",
        "health hidden from browsers",
        "browsers are told of any answer",
        # the rest
        "request ids dropped",
        "any request id taken",
        "never healthy",
        "never ready",
        "no metrics",
        "metrics stand still",
        "histogram without an end",
        "gauges missing",
    }
)


def too_long(message: str) -> RefusalError:
    return RefusalError(400, "exceed_context_size_error", message)


def tokenize(text: str) -> list[int]:
    """Return one token a word or sign."""
    return [zlib.crc32(each.lower().encode()) % END for each in re.findall(r"\w+|\W", text)]


_SEARCHED = {token for search in CORPUS.searches for token in tokenize(search.lexical)}
_IN_DOCUMENTS = Counter(
    token for document in CORPUS.documents for token in set(tokenize(document.text))
)


def weight(token: int) -> float:
    """Much for a word that tells one document from the others, little for what many have."""
    count = _IN_DOCUMENTS[token]
    return 16.0 if token in _SEARCHED and count == 1 else 4.0 / (1 + count)


def _random_vector(seed: int, dims: int) -> Vector:
    vector: Vector = np.random.default_rng(seed).standard_normal(dims) / np.sqrt(dims)
    return vector


@cache
def direction(token: int, dims: int) -> Vector:
    """Return the random direction that belongs to a token."""
    return _random_vector(token, dims)


def unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def noise(tokens: list[int], dims: int) -> Vector:
    """Return a random vector of about length 1, always the same for the same tokens."""
    seed = zlib.crc32(np.array(tokens).tobytes())
    return _random_vector(seed, dims)


_CHANCE = np.random.default_rng(0)

#: The faults that spoil a finished vector, and how; most do not look at it.
SPOILT: dict[str, Callable[[Vector, list[int]], Vector]] = {
    "wrong dims": lambda vector, _: unit(vector[: len(vector) // 2]),
    "unnormalised": lambda vector, _: 2.0 * vector,
    "constant": lambda vector, _: unit(np.ones(len(vector))),
    "zeros": lambda vector, _: np.zeros(len(vector)),
    "nan": lambda vector, _: np.full(len(vector), np.nan),
    "not deterministic": lambda vector, _: unit(
        vector + 0.1 * unit(_CHANCE.standard_normal(len(vector)))
    ),
    "imprecise": lambda vector, tokens: unit(vector + 0.06 * noise(tokens, len(vector))),
    "retrieval broken": lambda vector, tokens: unit(noise(tokens, len(vector))),
    "leading numbers meaningless": lambda vector, tokens: unit(
        np.concatenate([noise(tokens, len(vector))[:32], vector[32:]])
    ),
}


class ToyModel:
    """The toy's embeddings, right or with a fault."""

    def __init__(self, model: Model, fault: str | None = None) -> None:
        self.model = model
        self.fault = fault
        self.random = np.random.default_rng(0)
        # What a trained model knows, the toy learns by heart.
        self.published = published().get(model.name, Published({}, {}))
        self.learned = {
            tuple(self.tokens(f"Query: {search.text}")): self.tokens(f"Query: {search.lexical}")
            for search in CORPUS.searches
        }
        query = tuple(self.tokens(f"Query: {CARD_QUERY}"))
        self.card = {query: unit(direction(END, model.dims))}
        for text, similarity in zip(CARD_DOCUMENTS, CARD_SIMILARITIES[model.name], strict=True):
            tokens = self.tokens(f"Document: {text}")
            aside = noise(tokens, model.dims)
            aside = unit(aside - (aside @ self.card[query]) * self.card[query])
            self.card[tuple(tokens)] = (
                similarity * self.card[query] + np.sqrt(1 - similarity**2) * aside
            )
        for text, numbers in self.published.vectors.items():
            self.card[tuple(self.tokens(text))] = unit(np.array(numbers))

    def tokens(self, text: str) -> list[int]:
        """Return what the model makes of a text, the end token included."""
        match self.fault:
            case "ASCII only":
                text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
            case "C strings":
                text = text.split("\0")[0]
            case "control characters dropped":
                text = "".join(letter for letter in text if unicodedata.category(letter) != "Cc")
            case "look-alikes are control tokens":
                text = text.replace("</s>", "\0")
        if text in self.published.tokens and self.fault != "another tokenizer":
            return self.published.tokens[text]
        composes = self.model.nfc and self.fault != "decomposed texts kept"
        if composes or self.fault == "every text composed":
            text = unicodedata.normalize("NFC", text)
        return [*tokenize(text), END]

    def embed(self, tokens: list[int]) -> Vector:
        """Return the vector of one input."""
        if self.fault == "prefix blind" and tokens[0] in tokenize("Query Document"):
            tokens = tokens[3:]
        if self.fault == "beginning cut off":
            tokens = tokens[-2048:]
        vector = self._right(tokens)
        return SPOILT[self.fault](vector, tokens) if self.fault in SPOILT else vector

    def _right(self, tokens: list[int]) -> Vector:
        if tuple(tokens) in self.card and self.fault != "mean pooling":
            return self.card[tuple(tokens)].copy()
        dims = self.model.dims
        tokens = self.learned.get(tuple(tokens), tokens)
        vector = np.zeros(dims)
        for token, count in zip(*np.unique(tokens, return_counts=True), strict=True):
            share = 1.0 if self.fault == "mean pooling" else weight(int(token))
            vector += share * count * direction(int(token), dims)
        # Last-token pooling: without the end token at its end, a text is embedded as another.
        return unit(vector) if tokens[-1] == END else unit(unit(vector) + noise(tokens, dims))


class ToyReference:
    """Stands for tests.support.reference.Reference where the toy is judged."""

    def __init__(self, model: Model) -> None:
        self._model = ToyModel(model)

    def embed_tokens(self, tokens: list[int]) -> Vector:
        return self._model.embed(tokens)


class WrongServer:
    """Serves the toy on a free port of this machine, as a context manager."""

    def __init__(
        self,
        model: Model,
        fault: str | None = None,
        *,
        synthetic: bool = True,
        api_key: str | None = None,
    ) -> None:
        assert fault is None or fault in FAULTS, fault
        self.front = Front(fault, api_key)
        self.metrics = ToyMetrics(fault)
        self.model = model
        self.fault = fault
        self.toy = ToyModel(model, fault)
        self.synthetic = synthetic
        self.name = f"jina-embeddings-v5-text-{model.name}-retrieval"
        if synthetic and fault != "synthetic weights unnamed":
            self.name += "-synthetic"
        self.refused_before = False
        self.swapped: list[list[Vector]] = []
        self.arrival = threading.Condition()
        self._http = _Listener(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def described(self, model_file: Any = None) -> Server:
        """Return what the checks want to know of this server."""
        return Server(
            base_url=f"http://127.0.0.1:{self._http.server_port}",
            model=self.model,
            model_file=model_file,
            api_key=self.front.key,
            synthetic=self.synthetic,
            quantisation="Q8_0",
            bare=False,
        )

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | list[Any] | str:
        """Return what answers a request, as JSON or as text; raises RefusalError."""
        path = self.front.listed(path)
        answer: dict[str, Any] | list[Any] | str | None
        answer = self.told(path) if method == "GET" else self.made(path, body)
        if answer is not None:
            return answer
        if self.fault in ("bad requests accepted", "generates text", "methods unchecked"):
            return {}
        raise refusal_of_model(f"{path} is not served")

    def told(self, path: str) -> dict[str, Any] | str | None:
        """Return what the server says of itself; None where the path is of nothing."""
        answer: dict[str, Any] | str | None = None
        match path:
            case "/health" | "/v1/health" if self.fault != "never healthy":
                answer = {"status": "ok"}
            case "/ready" if self.fault != "never ready":
                answer = {"status": "ready"}
            case "/health" | "/v1/health" | "/ready":
                raise RefusalError(503, "unavailable_error", "Loading model")
            case "/metrics" if self.fault != "no metrics":
                answer = self.metrics.text()
            case "/models" | "/v1/models":
                entry = self.entry()
                answer = {"object": "list", "data": [entry], "models": [entry]}
            case "/info":
                answer = self.info()
            case _ if self.is_own(path):
                answer = self.entry()
        return answer

    def made(self, path: str, body: bytes) -> dict[str, Any] | list[Any] | None:
        """Return what is made of a body; None where the path is of nothing."""
        if path in _PATHS:
            request = self.parse(body)
            if "content" in request:
                request["input"] = request.pop("content")
                return self.own_form(self.embeddings(request))
            answer = self.embeddings(request, _PATHS[path])
            by_path = self.fault == "the path names the form" and "/v1/" not in path
            return self.own_form(answer) if by_path else answer
        if path in _TEI_PATHS:
            request = self.parse(body)
            if "inputs" not in request:
                raise bad_request("inputs is missing", "inputs")
            request["input"] = request.pop("inputs")
            answer = self.embeddings(request, _TEI_PATHS[path])
            as_openai = self.fault == "TEI in OpenAI's form"
            return answer if as_openai else [each["embedding"] for each in answer["data"]]
        if path == "/tokenize":
            request = self.parse(body)
            tokens = self.toy.tokens(request.get("content", ""))
            return {"tokens": tokens if request.get("add_special") else tokens[:-1]}
        return {"content": ""} if path == "/detokenize" else None

    def own_form(self, answer: dict[str, Any]) -> list[Any]:
        """Return an answer in llama.cpp's own form."""
        return [
            {"index": each["index"], "embedding": [each["embedding"]]} for each in answer["data"]
        ]

    def info(self) -> dict[str, Any]:
        """Return what text-embeddings-inference tells of itself."""
        told: dict[str, Any] = {
            "model_id": self.name,
            "served_model_name": self.name,
            "model_type": {"embedding": {"pooling": "last_token"}},
            "auto_truncate": False,
            "version": "toy",
        }
        if self.fault == "limits unsaid":
            return {**told, "max_input_length": 512}
        names = ("max_concurrent_requests", "max_batch_tokens", "max_client_batch_size")
        return {**told, "max_input_length": self.model.context, **dict.fromkeys(names, 64)}

    def is_own(self, path: str) -> bool:
        """Whether a path is that of the served model's entry."""
        own = {f"/models/{self.name}", f"/v1/models/{self.name}"}
        return path in own and self.fault != "no entry for a model"

    def entry(self) -> dict[str, Any]:
        """Return what the list of models says of the only one."""
        name = "another-model" if self.fault == "another model's name" else self.name
        said: dict[str, Any] = {
            "capabilities": ["embedding"],
            "dimensions": self.model.dims,
            "matryoshka": list(self.model.matryoshka),
            "context": self.model.context,
            "pooling": "last",
        }
        if self.fault == "capabilities unsaid":
            said["capabilities"] = ["completion"]
        return {"id": name, "object": "model", **said}

    def named(self, asked: str) -> str:
        """Return the name to answer in; raises RefusalError for the other model's."""
        if self.fault == "answers under another model's name":
            return "another-model"
        bare = asked.removeprefix("jinaai/").removesuffix("-retrieval")
        own = f"jina-embeddings-v5-text-{self.model.name}"
        others = {f"jina-embeddings-v5-text-{name}" for name in PREFIXES.models} - {own}
        if bare in others and self.fault != "every model's name taken":
            raise refusal_of_model(f"this server serves {self.name}")
        if bare == own and asked != own and self.fault == "own name in one spelling":
            raise refusal_of_model(f"{asked} is not served")
        return asked if asked and self.fault == "model echoed" else self.name

    def embeddings(self, request: dict[str, Any], path_side: str | None = None) -> dict[str, Any]:
        """Return OpenAI's answer to a request that was parsed."""
        name = self.named(request.get("model", ""))
        given = [self.text_of(each, at) for at, each in enumerate(self.split(request.get("input")))]
        if len(given) > MAX_INPUTS and self.fault != "any number of inputs":
            raise bad_request(f"{len(given)} inputs are more than {MAX_INPUTS}")
        if self.fault == "path prefixes ignored":
            path_side = None
        wanted = Fields(self.model.matryoshka, self.fault).read(request, path_side)
        if wanted.side:
            given = [self.prefixed(each, wanted.side) for each in given]
        read = [self.read(each, at) for at, each in enumerate(given)]
        inputs = [self.fit(tokens, cut=wanted.cut) for tokens in read]
        if self.fault == "batches end at 256":
            inputs = inputs[:256]
        vectors = [self.toy.embed(tokens) for tokens in inputs]
        if wanted.norm == -1 and self.fault != "always normalised":
            vectors = [3 * vector for vector in vectors]
        vectors = [self.shorten(vector, wanted) for vector in vectors]
        match self.fault:
            case "answers shuffled":
                vectors = vectors[1:] + vectors[:1]
            case "neighbours in a batch mix":
                vectors = [unit(vector + 0.3 * np.mean(vectors, axis=0)) for vector in vectors]
            case "concurrent answers swapped":
                vectors = self.swap(vectors)
        used = sum(map(len, inputs)) + (self.fault == "usage off by one")
        if wanted.side and self.fault == "prefix not counted":
            used -= len(inputs)
        self.metrics.embedded(len(inputs), used)
        first = 1 if self.fault == "index from one" else 0
        return {
            **({} if self.fault == "fields missing" else {"object": "list"}),
            "model": name,
            "usage": {"prompt_tokens": used, "total_tokens": used},
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": written(vector, wanted, self.fault),
                    **self.truncation(wanted, whole=whole, used=used_tokens),
                }
                for index, (vector, whole, used_tokens) in enumerate(
                    zip(vectors, read, inputs, strict=False), start=first
                )
            ],
        }

    def parse(self, body: bytes) -> dict[str, Any]:
        """Return the request, refused where a field is not as it must be."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            said = "é" if self.fault == "answers in Latin-1" else str(error)
            raise bad_request(f"not JSON: {said}") from None
        if not isinstance(request, dict):
            raise bad_request("the body must be a JSON object")
        if self.fault == "unknown fields refused" and "user" in request:
            raise bad_request("unknown field: user")
        if self.fault == "null fields refused" and None in request.values():
            raise bad_request("a field is null")
        if "input" in request and "content" in request:
            raise bad_request("both input and content")
        # Null is as good as absent, but for the input.
        request = {name: value for name, value in request.items() if value is not None}
        if not isinstance(request.get("model", ""), str):
            raise bad_request("model must be a string")
        return request

    def prefixed(self, given: Any, side: str) -> Any:
        """Return a text with the prefix of its side."""
        prefixes = {"query": PREFIXES.query_prefix, "document": PREFIXES.document_prefix}
        prefix = prefixes.pop(side)
        (other,) = prefixes.values()
        if self.fault == "wrong sides accepted":
            return given
        if not isinstance(given, str):
            raise bad_request("tokens cannot have a prefix")
        if self.fault == "sides swapped":
            prefix, other = other, prefix
        if given.startswith(other) and self.fault == "a side yields to a prefix":
            return given
        doubled = self.fault == "prefix doubled"
        return given if given.startswith(prefix) and not doubled else prefix + given

    def truncation(self, wanted: Wanted, *, whole: list[int], used: list[int]) -> dict[str, bool]:
        """Return what an answer says about a cut input: nothing where no cut was asked for."""
        if not wanted.cut or self.fault == "truncation unsaid":
            return {}
        return {"truncated": len(used) < len(whole) or self.fault == "truncation everywhere"}

    def split(self, given: Any) -> list[Any]:
        """Return the request's input as a list of single inputs."""
        if isinstance(given, str) and self.fault == "strings split into words":
            return given.split()
        if isinstance(given, str | dict) or (_is_token_array(given) and given):
            return [given]
        if not isinstance(given, list) or not given:
            raise bad_request("input must be a text, a token array or a list of these", "input")
        return given

    def text_of(self, given: Any, at: int) -> Any:
        """Return an input as it is, or the text of an object."""
        if not isinstance(given, dict):
            return given
        if self.fault == "text objects refused":
            raise bad_request("an input is an object")
        odd = sorted(set(given) - {"text", "type"})
        if odd:
            unsaid = self.fault == "objects refused without a name"
            raise bad_request("no text" if unsaid else f"input[{at}] holds `{odd[0]}`")
        return given.get("text")

    def read(self, given: Any, at: int) -> list[int]:
        """Return the tokens of a single input."""
        if given == "":
            raise bad_request("an input is empty", f"input[{at}]")
        if isinstance(given, str):
            tokens = self.tokens(given)
        elif not _is_token_array(given) or not given:
            raise bad_request("each input must be a text or a token array that is not empty")
        elif given[-1] != END and self.fault != "any tokens taken":
            raise bad_request("other tokens than ours; LangChain: check_embedding_ctx_length=False")
        elif self.fault == "token arrays read as text":
            tokens = self.toy.tokens(str(given))
        else:
            tokens = given
        if not 0 <= min(tokens) <= max(tokens) <= END:
            raise bad_request("a token is outside of the vocabulary")
        if self.fault == "micro-batch of 512" and len(tokens) > 512:
            raise RefusalError(500, "server_error", "too large to process")
        return tokens

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens; raises RefusalError for one that cannot but be too long."""
        if len(text) > LONGEST_WORD * self.model.context:
            if self.fault != "more than context accepted":
                raise too_long(f"the text is longer than the context of {self.model.context}")
            text = text[: self.model.context]
        return self.toy.tokens(text)

    def fit(self, tokens: list[int], *, cut: bool) -> list[int]:
        """Return tokens no longer than the context, cut where that was asked for."""
        limit = self.model.context - (self.fault == "context refused")
        if len(tokens) <= limit or self.fault == "more than context accepted":
            return tokens
        if not cut:
            named = "" if self.fault == "limit unnamed" else f" of {limit}"
            raise too_long(f"{len(tokens)} tokens exceed the context{named}")
        if self.fault == "truncation loses the end":
            return tokens[:limit]
        return [*tokens[: limit - 1], tokens[-1]]

    def shorten(self, vector: Vector, wanted: Wanted) -> Vector:
        """Return the vector at the requested size."""
        size = wanted.size
        if size in (None, self.model.dims) or self.fault == "dimensions ignored":
            return vector
        short = vector[:size]
        if wanted.numbers != "float" and self.fault == "whole before it is short":
            return short
        return short if self.fault == "dimensions not normalised" else unit(short)

    def swap(self, vectors: list[Vector]) -> list[Vector]:
        """Return the answer of the next request to arrive, if one comes while this one waits."""
        with self.arrival:
            mine = len(self.swapped)
            self.swapped.append(vectors)
            self.arrival.notify_all()
            self.arrival.wait_for(lambda: len(self.swapped) > mine + 1, timeout=0.1)
            return self.swapped[min(mine + 1, len(self.swapped) - 1)]

    def handle(self, request: ToyRequest) -> tuple[int, Any, dict[str, str]]:
        """Return the status, the body and the headers that answer a request, refusals too."""
        if self.fault == "broken after an error" and self.refused_before:
            return 500, "broken since an earlier request", {}
        try:
            if self.fault == "reads every body first":
                request.read()
            self.front.admit(request.method, request.path, request.headers)
            return 200, self.answer(request.method, request.path, request.read()), {}
        except RefusalError as refusal:
            self.refused_before = True
            match self.fault:
                case "bad requests accepted":
                    return 200, self.embeddings({"input": "nothing"}), {}
                case "errors are 500":
                    return 500, refusal.body, {}
                case "errors are text":
                    return refusal.status, str(refusal), {}
            status, said = self.front.error(request.path, refusal)
            return status, said, refusal.headers


def _is_token_array(given: Any) -> bool:
    return isinstance(given, list) and all(type(each) is int for each in given)


class ToyRequest:
    """A request whose header has come; its body is read when it is asked for."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = httpx.Headers(list(handler.headers.items()))
        self._file = handler.rfile
        self._left = int(handler.headers.get("Content-Length", 0))

    def read(self) -> bytes:
        """Return what of the body has not been read."""
        parts = []
        while self._left and (part := self._file.read(min(self._left, 65536))):
            self._left -= len(part)
            parts.append(part)
        return b"".join(parts)

    def drop(self) -> None:
        """Read the rest once the answer is out, so that a client that still sends can read it."""
        self.read()


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128  # many clients connect at once


def _handler(server: WrongServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer goes out at once: its second packet must not wait for the first one's receipt.
        disable_nagle_algorithm = True
        wbufsize = -1

        def _do(self) -> None:
            request = ToyRequest(self)
            path = self.path
            status, body, more = server.handle(request)
            server.metrics.answered(path, status)
            text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            kind = "text/plain" if text is body else "application/json"
            content = text.encode("latin-1" if server.fault == "answers in Latin-1" else "utf-8")
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(content)), **more}
            for name, value in {**headers, **server.front.headers(path, request.headers)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
            request.drop()

        do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest shows what matters."""

    return Handler
