"""Which request the toy answers with what, refusals included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.contract.checks.errors import ROUTES_OF_TEI
from tests.contract.checks.routes import ALIASES, SERVED
from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.cohere import PATHS as COHERE_PATHS
from tests.support.toy.cohere import ToyCohere
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.front import ToyFront
from tests.support.toy.identity import refusal_of_model
from tests.support.toy.model import END
from tests.support.toy.request import ToyRequest
from tests.support.vectors import cosine

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

_MODEL = re.compile(r"(?:/v1)?/models/[^/]+")


@dataclass(frozen=True)
class Answer:
    """What goes out: ``body`` is JSON, or text."""

    status: int
    body: dict[str, Any] | list[Any] | str
    headers: dict[str, str] = field(default_factory=dict)


class ToyRoutes:
    """Answers requests, once the front has let them in."""

    def __init__(self, front: ToyFront, embeddings: ToyEmbeddings, cohere: ToyCohere) -> None:
        self.front = front
        self.embeddings = embeddings
        self.cohere = cohere

    def handle(self, request: ToyRequest) -> Answer:
        """Return what answers a request, whatever it is."""
        try:
            self.admit(request)
            return Answer(200, self.answer(request.method, request.path, request.read()))
        except RefusalError as refusal:
            return self.refused(request.path, refusal)

    def admit(self, request: ToyRequest) -> None:
        """Raise RefusalError for what must not be worked on; the body is not read yet."""
        path = self.listed(request.path)
        self.front.check_origin(path, request.headers)
        self.check_route(request.method, path)
        self.front.check_key(path, request.headers)
        self.front.check_size(request.headers)

    def listed(self, path: str) -> str:
        """Return the address that a client means, as it is listed."""
        path = self.plain(path)
        models = re.fullmatch(r"/(?:query|document)((?:/v1)?/models/[^/]+)", path)
        return models[1] if models else ALIASES.get(path, path)

    def plain(self, path: str) -> str:
        """Return an address without what proxies and sloppy bases add to it."""
        path = re.sub(r"^https?://[^/]*", "", path)
        return re.sub(r"/+", "/", path).removesuffix("/") or "/"

    def allowed(self, path: str) -> str | None:
        """Return the method of a listed path; None where nothing is."""
        return "GET" if _MODEL.fullmatch(path) else SERVED.get(path)

    def check_route(self, method: str, path: str) -> None:
        """Refuse paths that are not there, and methods that they do not have."""
        allowed = self.allowed(path)
        if allowed is None:
            raise RefusalError(404, "not_found_error", f"there is no {path[:200]}")
        if allowed != method:
            why = f"{path} takes {allowed}"
            raise RefusalError(405, "invalid_request_error", why, {"Allow": allowed})

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | list[Any] | str:
        """Return what answers a request, as JSON or as text; raises RefusalError."""
        path = self.listed(path)
        answer: dict[str, Any] | list[Any] | str | None
        answer = self.told(path) if method == "GET" else self.made(path, body)
        return self.nothing(path) if answer is None else answer

    def nothing(self, path: str) -> dict[str, Any]:
        """Refuse a path that was let in and is of nothing: that of another model."""
        raise refusal_of_model(f"{path} is not served")

    def told(self, path: str) -> dict[str, Any] | str | None:
        """Return what the server says of itself; None where the path is of nothing."""
        identity = self.embeddings.identity
        answer: dict[str, Any] | str | None = None
        match path:
            case "/health" | "/v1/health":
                answer = {"status": "ok"}
            case "/ready":
                answer = {"status": "ready"}
            case "/metrics":
                answer = self.embeddings.metrics.text()
            case "/models" | "/v1/models":
                entry = identity.entry()
                answer = {"object": "list", "data": [entry], "models": [entry]}
            case "/info":
                answer = identity.info()
            case _ if identity.is_own(path):
                answer = identity.entry()
        return answer

    def made(self, path: str, body: bytes) -> dict[str, Any] | list[Any] | None:
        """Return what is made of a body; None where the path is of nothing."""
        if path in _PATHS:
            request = self.embeddings.parse(body)
            if "content" in request:
                return self.own_form(self.embeddings.answer(request))
            return self.embeddings.answer(request, _PATHS[path])
        if path in _TEI_PATHS or path == "/similarity":
            return self.tei(path, self.embeddings.parse(body))
        if path in COHERE_PATHS:
            return self.cohere.answer(COHERE_PATHS[path], body)
        if path in ("/tokenize", "/detokenize"):
            request = self.embeddings.parse(body)
            is_text = path == "/detokenize"
            return self.text(request) if is_text else self.tokens(request)
        return None

    def tei(self, path: str, request: dict[str, Any]) -> dict[str, Any] | list[Any]:
        """Return what text-embeddings-inference makes of a request; raises RefusalError."""
        if path == "/similarity":
            return self.similarity(request)
        if "inputs" not in request:
            raise bad_request("inputs is missing", "inputs")
        request["input"] = request.pop("inputs")
        return self.tei_form(self.embeddings.answer(request, _TEI_PATHS[path]))

    def similarity(self, request: dict[str, Any]) -> list[Any]:
        """Return how close the sentences of a request are to one; raises RefusalError."""
        given = request.get("inputs")
        if not isinstance(given, dict):
            raise bad_request("inputs must be an object", "inputs")
        source, sentences = given.get("source_sentence"), given.get("sentences")
        if not isinstance(source, str):
            raise bad_request("source_sentence must be a text", "inputs.source_sentence")
        if not isinstance(sentences, list) or not sentences:
            raise bad_request("sentences must be a list of texts", "inputs.sentences")
        for at, sentence in enumerate(sentences):
            if not isinstance(sentence, str) or not sentence:
                raise bad_request(f"sentences[{at}] must be a text", "inputs.sentences")
        parameters = request.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise bad_request("parameters must be an object", "parameters")
        if parameters.get("encoding_format", "float") != "float":
            raise bad_request("no form can be asked for")
        return self.compared([source, *sentences], parameters)

    def compared(self, texts: list[str], parameters: dict[str, Any]) -> list[Any]:
        """Return the cosine of the first text with each of the others."""
        said = {name: value for name, value in parameters.items() if value is not None}
        answer = self.embeddings.answer({"input": texts, **said})
        first, *others = [each["embedding"] for each in answer["data"]]
        return [float(cosine([first], [other])[0]) for other in others]

    def tokens(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the tokens of a text; raises RefusalError where it is none."""
        content, special = request.get("content"), request.get("add_special", False)
        if not isinstance(content, str) or not isinstance(special, bool):
            raise bad_request("content must be a text, and add_special a flag", "content")
        tokens = self.embeddings.toy.tokens(content)
        return {"tokens": tokens if special else tokens[:-1]}

    def text(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a text of no tokens: the toy cannot turn them back."""
        tokens = request.get("tokens")
        if not isinstance(tokens, list) or any(type(each) is not int for each in tokens):
            raise bad_request("tokens must be a list of tokens", "tokens")
        if any(not 0 <= each <= END for each in tokens):
            raise bad_request("tokens holds one that is none", "tokens")
        return {"content": ""}

    def own_form(self, answer: dict[str, Any]) -> list[Any]:
        """Return an answer in llama.cpp's own form."""
        return [
            {"index": each["index"], "embedding": [each["embedding"]]} for each in answer["data"]
        ]

    def tei_form(self, answer: dict[str, Any]) -> dict[str, Any] | list[Any]:
        """Return an answer in the form of text-embeddings-inference."""
        return [each["embedding"] for each in answer["data"]]

    def refused(self, path: str, refusal: RefusalError) -> Answer:
        """Return a refusal in the form of the API whose route it is."""
        if self.listed(path) in COHERE_PATHS:
            return Answer(refusal.status, self.cohere.error(refusal), refusal.headers)
        is_tei = ROUTES_OF_TEI.search(path)
        return self.tei_refusal(refusal) if is_tei else self.openai_refusal(refusal)

    def tei_refusal(self, refusal: RefusalError) -> Answer:
        """Return a refusal in the form of text-embeddings-inference."""
        status = 422 if refusal.status == 400 else refusal.status
        body = {"error": str(refusal), "error_type": "Validation"}
        return Answer(status, body, refusal.headers)

    def openai_refusal(self, refusal: RefusalError) -> Answer:
        """Return a refusal in OpenAI's form."""
        return Answer(refusal.status, self.openai_error(refusal), refusal.headers)

    def openai_error(self, refusal: RefusalError) -> dict[str, Any]:
        """Return the body of a refusal in OpenAI's form."""
        return {"error": dict(refusal.error), "detail": str(refusal)}
