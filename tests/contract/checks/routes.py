"""Routes: embeddings and what belongs to them are served, and nothing else that generates."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_model_not_found, assert_refused
from tests.contract.checks.inputs import same
from tests.support.client import Client, describe, vectors
from tests.support.server import Server
from tests.support.sockets import RawConnection, answer_before_body
from tests.support.vectors import cosine

CHECKS = Checks()

_ALL_ROUTES = "llama-server has all its routes, and an error of its own for what it lacks"
_MODELS = "llama-server says completion, and no entry has an address of its own"

#: All that is served, with the method of each; beside these only /models/ID and /v1/models/ID.
SERVED = {
    "/health": "GET",
    "/v1/health": "GET",
    "/ready": "GET",
    "/metrics": "GET",
    "/models": "GET",
    "/v1/models": "GET",
    "/v1/embeddings": "POST",
    "/embeddings": "POST",
    "/embedding": "POST",
    "/query/v1/embeddings": "POST",
    "/document/v1/embeddings": "POST",
    "/embed": "POST",
    "/query/embed": "POST",
    "/document/embed": "POST",
    "/similarity": "POST",
    "/info": "GET",
    "/v1/embed": "POST",
    "/v2/embed": "POST",
    "/tokenize": "POST",
    "/detokenize": "POST",
}

#: Other addresses of these, for clients whose base is the root or a side, with /v1 or without.
ALIASES = {
    "/": "/embed",
    "/query": "/query/embed",
    "/document": "/document/embed",
    **{f"/{side}/embeddings": f"/{side}/v1/embeddings" for side in ("query", "document")},
    **{
        f"/{side}{path}": path
        for side in ("query", "document")
        for path in ("/models", "/v1/models", "/info")
    },
}

#: What llama-server does beside embeddings, by the routes of all its sources that we build.
NOT_SERVED = (
    "/index.html",
    "/api/chat",
    "/api/show",
    "/api/tags",
    "/apply-template",
    "/audio/transcriptions",
    "/chat/completions",
    "/chat/completions/input_tokens",
    "/completion",
    "/completions",
    "/cors-proxy",
    "/infill",
    "/lora-adapters",
    "/props",
    "/rerank",
    "/reranking",
    "/responses",
    "/responses/input_tokens",
    "/slots",
    "/slots/0",
    "/tools",
    "/v1/audio/transcriptions",
    "/v1/chat/completions",
    "/v1/chat/completions/control",
    "/v1/chat/completions/input_tokens",
    "/v1/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/rerank",
    "/v1/reranking",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/stream",
    "/v1/streams/lookup",
)

#: Served would be the model of this name, asked with GET; these load models and tell of them.
NOT_POSTED = ("/models/load", "/models/unload", "/models/sse")


@CHECKS.add(xfail="llama-server has no /ready")
def serves_what_it_says(_server: Server, client: Client) -> None:
    """Every route that is listed is there."""
    for path, method in SERVED.items():
        response = client.request(method, path, **({"json": {}} if method == "POST" else {}))
        assert response.status_code not in (404, 405, 501), describe(response)
        assert response.status_code < 500, describe(response)


@CHECKS.add(xfail=_ALL_ROUTES)
def serves_embeddings_only(_server: Server, client: Client) -> None:
    """Routes that generate, rerank, or touch slots and templates are not there, by any method."""
    for path in NOT_SERVED:
        for method in ("GET", "POST", "DELETE"):
            response = client.request(method, path)
            assert response.status_code == 404, describe(response)
            assert_refused(response)
            assert response.json()["error"]["type"] == "not_found_error", describe(response)
    for path in NOT_POSTED:
        assert client.request("GET", path).status_code == 404, path
        assert client.request("POST", path).status_code in (404, 405), path


@CHECKS.add(xfail="llama-server answers 404")
def other_methods_are_named(_server: Server, client: Client) -> None:
    """A route asked with another method says 405, and which one it allows."""
    for path, allowed in SERVED.items():
        for method in {"GET", "POST", "PUT", "DELETE"} - {allowed}:
            response = client.request(method, path)
            assert response.status_code == 405, describe(response)
            assert allowed in response.headers.get("Allow", ""), describe(response)
            assert_refused(response)


@CHECKS.add(xfail="llama-server waits for the body")
def unknown_route_is_refused_before_its_body(server: Server, _client: Client) -> None:
    """The answer does not wait for a body that nobody will read."""
    key = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    for path in ("/v1/chat/completions", "/nowhere"):
        response = answer_before_body(server.base_url, path, key)
        assert response.status_code == 404, describe(response)


@CHECKS.add(xfail=_MODELS)
def models_say_what_they_can(server: Server, client: Client) -> None:
    """``/v1/models`` says that it embeds, and how."""
    body = client.request("GET", "/v1/models").json()
    (entry,), (listed,) = body["data"], body["models"]
    assert entry["capabilities"] == listed["capabilities"] == ["embedding"]
    assert entry["dimensions"] == server.model.dims
    assert entry["matryoshka"] == list(server.model.matryoshka)
    assert entry["context"] == server.model.context
    assert entry["pooling"] == "last"


@CHECKS.add(xfail=_MODELS)
def a_model_has_an_entry_of_its_own(_server: Server, client: Client) -> None:
    """``/v1/models/ID`` is the entry of the served model; of any other there is none."""
    (entry,) = client.request("GET", "/v1/models").json()["data"]
    for root in ("/v1/models", "/models"):
        found = client.request("GET", f"{root}/{quote(entry['id'], safe='')}")
        assert found.status_code == 200, describe(found)
        assert found.json() == entry
        assert_model_not_found(client.request("GET", f"{root}/no-such-model"))


@CHECKS.add(xfail=_MODELS)
def bases_have_what_clients_ask(_server: Server, client: Client) -> None:
    """Under each base that a client may be given there are the models, as under /v1."""
    models = client.request("GET", "/v1/models").json()
    (entry,) = models["data"]
    name = quote(entry["id"], safe="")
    for base in ("", "/v1", "/query/v1", "/document/v1", "/query", "/document"):
        found = client.request("GET", f"{base}/models")
        assert found.status_code == 200, describe(found)
        assert found.json() == models, base
        found = client.request("GET", f"{base}/models/{name}")
        assert found.status_code == 200, describe(found)
        assert found.json() == entry, base
    for alias, path in ALIASES.items():
        method = SERVED[path]
        body: dict[str, Any] = {"json": {}} if method == "POST" else {}
        found, expected = (client.request(method, each, **body) for each in (alias, path))
        assert found.status_code == expected.status_code, describe(found)
        assert found.json() == expected.json(), describe(found)


@CHECKS.add(xfail="llama-server goes by the path")
def the_field_names_the_form(server: Server, client: Client) -> None:
    """To `input` the answer is OpenAI's, without /v1, too; to `content` it is llama.cpp's own."""
    expected = client.embeddings("a text")
    for path in ("/embeddings", "/embedding"):
        found = client.request("POST", path, json={"input": "a text"})
        assert found.status_code == 200, describe(found)
        assert found.json() == expected, describe(found)
        own = client.request("POST", path, json={"content": "a text"})
        assert own.status_code == 200, describe(own)
        assert isinstance(own.json(), list), describe(own)
    query = client.request("POST", "/query/embeddings", json={"input": "a text"})
    with_prefix = client.embed(["Query: a text"])
    assert cosine(vectors(query.json()), with_prefix).min() >= same(server)


@CHECKS.add(xfail="llama-server answers 404")
def slashes_are_forgiven(server: Server, client: Client) -> None:
    """A slash too many, as a base that ends with one makes, and a proxy's form of a target."""
    expected = client.embeddings("a text")
    for path in ("//v1/embeddings", "/v1//embeddings", "/v1/embeddings/", "/query/v1/embeddings//"):
        found = client.request("POST", server.base_url + path, json={"input": "a text"})
        assert found.status_code == 200, describe(found)
        assert found.json()["model"] == expected["model"]
    key = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    with RawConnection(server.base_url) as connection:
        head = [f"GET {server.base_url}/v1/models HTTP/1.1", "Host: localhost"]
        head += [f"{name}: {value}" for name, value in key.items()]
        connection.send(("\r\n".join(head) + "\r\n\r\n").encode())
        found = connection.answer("GET", "/v1/models")
    assert found.status_code == 200, describe(found)
    assert found.json() == client.request("GET", "/v1/models").json()
