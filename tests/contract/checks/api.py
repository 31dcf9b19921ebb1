"""The API: what goes in, what comes out, and what clients in the field send."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

import numpy as np
import openai

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import different_texts, same
from tests.support.client import Client, Input, describe, vectors
from tests.support.server import Server
from tests.support.vectors import cosine, nearest, truncate

CHECKS = Checks()

_DIMENSIONS_IGNORED = "llama-server ignores dimensions and answers with all of them"

TEXT = "Query: how do I renew a certificate before it expires?"

#: Texts on which tokenisers and JSON encoders trip. Each also has a neighbour that it must not
#: be taken for: a NUL that ends a C string, an emoji or a newline that is dropped.
TEXT_FORMS = {
    "accents": ("café, naïve façade in Kraków", "cafe, naive facade in Krakow"),
    "chinese": ("海滩上的日落", "海滩上的日出"),
    "emoji": ("launch🚀👩\u200d👧", "launch"),
    "right_to_left": ("قاعدة البيانات بطيئة", "قاعدة البيانات سريعة"),
    "nul": ("before\u0000after", "before"),
    "newline_only": ("\n", "\n\n\n"),
    "control_characters": ("a\u0001\u001b[0m\u007fb", "a[0mb"),
}


@CHECKS.add()
def fields(server: Server, client: Client) -> None:
    """Every field of an OpenAI embeddings answer is there and says what it must."""
    body = client.embeddings(["first text", "second text"])
    assert body.keys() >= {"object", "model", "usage", "data"}
    assert body["object"] == "list"
    assert body["model"] in client.models(), "without a model in the request: the served one"
    assert set(body["usage"]) >= {"prompt_tokens", "total_tokens"}
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0
    assert [item.get("object") for item in body["data"]] == ["embedding", "embedding"]
    assert [item.get("index") for item in body["data"]] == [0, 1]
    for item in body["data"]:
        assert isinstance(item["embedding"], list)
        assert {type(number) for number in item["embedding"]} <= {float, int}
        assert len(item["embedding"]) == server.model.dims


@CHECKS.add()
def model_named_in_request(_server: Server, client: Client) -> None:
    """Naming the served model in a request is answered in that model's name."""
    name = client.models()[0]
    assert client.embeddings("a text", model=name)["model"] == name


@CHECKS.add()
def single_string(server: Server, client: Client) -> None:
    """Bare strings are one input: the same vector as a list of that string."""
    body = client.embeddings(TEXT)
    assert len(body["data"]) == 1
    assert cosine(vectors(body), client.embed([TEXT])).min() >= same(server)


@CHECKS.add()
def token_array(server: Server, client: Client) -> None:
    """Token ids in a bare list are one input: the same vector as the text they came from."""
    body = client.embeddings(client.tokenize(TEXT))
    assert len(body["data"]) == 1
    assert cosine(vectors(body), client.embed([TEXT])).min() >= same(server)


@CHECKS.add()
def list_of_token_arrays(server: Server, client: Client) -> None:
    """Several token arrays give the vectors of their texts, in order."""
    texts = different_texts(3)
    by_tokens = client.embed([client.tokenize(text) for text in texts])
    assert cosine(by_tokens, client.embed(texts)).min() >= same(server)


@CHECKS.add()
def mixed_input(server: Server, client: Client) -> None:
    """Texts and token arrays may be mixed in one list."""
    first, second, third = different_texts(3)
    mixed = client.embed([first, client.tokenize(second), third])
    assert cosine(mixed, client.embed([first, second, third])).min() >= same(server)


def batch_in_order(server: Server, client: Client, size: int) -> None:
    """Each answer of a batch is the answer to the input at its place.

    Up to 64 it is compared with single requests, above with batches of ten, to save time.
    """
    texts = different_texts(size)
    body = client.embeddings(texts)
    assert [item["index"] for item in body["data"]] == list(range(size))
    step = 1 if size <= 64 else 10
    apart = [client.embed(texts[start : start + step]) for start in range(0, size, step)]
    expected = np.concatenate(apart)
    assert nearest(vectors(body), expected) == list(range(size))
    assert cosine(vectors(body), expected).min() >= same(server)


for count in (1, 2, 64, 300):
    CHECKS.add(f"batch_{count}_in_order")(partial(batch_in_order, size=count))


@CHECKS.add()
def base64_equals_float(_server: Server, client: Client) -> None:
    """base64 carries the very numbers of the float form: float32, little-endian."""
    as_float = client.embeddings(TEXT, encoding_format="float")
    as_base64 = client.embeddings(TEXT, encoding_format="base64")
    assert isinstance(as_float["data"][0]["embedding"], list)
    assert isinstance(as_base64["data"][0]["embedding"], str)
    np.testing.assert_array_equal(vectors(as_base64), vectors(as_float))


def _openai(server: Server) -> openai.OpenAI:
    # The client insists on a key; a server without one ignores it.
    return openai.OpenAI(
        base_url=f"{server.base_url}/v1", api_key=server.api_key or "unused", max_retries=0
    )


@CHECKS.add()
def openai_client(server: Server, client: Client) -> None:
    """OpenAI's client works, with its own default encoding (base64) and with floats."""
    texts = different_texts(3)
    expected = client.embed(texts)
    model = client.models()[0]
    with _openai(server) as official:
        default = official.embeddings.create(model=model, input=texts)
        floats = official.embeddings.create(model=model, input=texts, encoding_format="float")
        listed = [each.id for each in official.models.list()]
    for answer in (default, floats):
        got = np.array([item.embedding for item in answer.data])
        assert got.shape == expected.shape
        assert cosine(got, expected).min() >= same(server)
        assert answer.usage.prompt_tokens == sum(len(client.tokenize(text)) for text in texts)
    assert model in listed


@CHECKS.add()
def openai_client_error(server: Server, client: Client) -> None:
    """OpenAI's client recognises a refusal and can read its message."""
    with _openai(server) as official:
        try:
            official.embeddings.create(
                model=client.models()[0],
                input="a text",
                extra_body={"encoding_format": "morse"},
            )
        except openai.APIStatusError as error:
            refusal = error
        else:
            raise AssertionError("an unknown encoding_format was accepted")
    assert isinstance(refusal, openai.BadRequestError), refusal
    assert isinstance(refusal.body, dict), refusal
    assert refusal.body["message"]


@CHECKS.add()
def elasticsearch_request(server: Server, client: Client) -> None:
    """Elasticsearch's openai service is understood: it sends list, model, base64 and user."""
    texts = different_texts(2)
    request = {"model": "jina-embeddings-v5-text", "encoding_format": "base64", "user": "elastic"}
    body = client.embeddings(texts, **request)
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert vectors(body).shape == (2, server.model.dims)
    assert cosine(vectors(body), client.embed(texts)).min() >= same(server)


@CHECKS.add()
def usage_counts_tokens(_server: Server, client: Client) -> None:
    """Usage counts what ``/tokenize`` counts, the added end token included, over the batch."""
    texts = ["one", "two words", *different_texts(5)]
    tokens = client.tokenize(TEXT)
    counts = [len(client.tokenize(text)) for text in texts]
    assert min(counts) >= 2, "the model ends each text with a token of its own"
    for text, count in zip(texts, counts, strict=True):
        assert client.embeddings(text)["usage"]["prompt_tokens"] == count
    together: list[Input] = [*texts, tokens]
    usage = client.embeddings(together)["usage"]
    total = sum(counts) + len(tokens)
    assert usage == {"prompt_tokens": total, "total_tokens": total}


def text_form(server: Server, client: Client, text: str, neighbour: str) -> None:
    """Unusual texts are embedded whole: none is taken for its neighbour."""
    body = client.embeddings([text, neighbour])
    found = vectors(body)
    assert found.shape == (2, server.model.dims)
    assert np.isfinite(found).all()
    tokens = [client.tokenize(text), client.tokenize(neighbour)]
    assert body["usage"]["prompt_tokens"] == sum(map(len, tokens))
    assert tokens[0] != tokens[1]
    assert cosine(found[0], found[1]) < same(server)


for form, (text, neighbour) in TEXT_FORMS.items():
    CHECKS.add(f"text_{form}")(partial(text_form, text=text, neighbour=neighbour))


@CHECKS.add(xfail=_DIMENSIONS_IGNORED)
def dimensions(server: Server, client: Client) -> None:
    """``dimensions`` gives the full vector's first numbers, scaled to length 1 again."""
    texts = different_texts(3)
    full = client.embed(texts)
    for dims in server.model.matryoshka:
        short = client.embed(texts, dimensions=dims)
        assert short.shape == (3, dims)
        assert np.allclose(np.linalg.norm(short, axis=1), 1.0, atol=1e-5)
        assert cosine(short, truncate(full, dims)).min() >= same(server)


@CHECKS.add(xfail=_DIMENSIONS_IGNORED)
def dimensions_from_clients(server: Server, client: Client) -> None:
    """``dimensions`` works as clients send it: with base64, and by the official client."""
    dims = server.model.matryoshka[-2]
    assert client.embed([TEXT], dimensions=dims, encoding_format="base64").shape == (1, dims)
    with _openai(server) as official:
        answer = official.embeddings.create(model=client.models()[0], input=TEXT, dimensions=dims)
    assert len(answer.data[0].embedding) == dims


@CHECKS.add(xfail=_DIMENSIONS_IGNORED)
def dimensions_refusal_names_sizes(server: Server, client: Client) -> None:
    """A refusal of ``dimensions`` names every size that is allowed."""
    response = client.request("POST", "/v1/embeddings", json={"input": TEXT, "dimensions": 33})
    assert response.status_code == 400, describe(response)
    message = response.json()["error"]["message"]
    assert all(str(size) in message for size in server.model.matryoshka), message


@CHECKS.add(xfail="llama-server answers 500 to a null encoding_format")
def null_fields(server: Server, client: Client) -> None:
    """Optional fields may be null, as some clients send those that are not set."""
    names = ("model", "encoding_format", "dimensions", "input_type", "task", "truncate", "user")
    body = client.embeddings(TEXT, **dict.fromkeys(names))
    assert body["model"] in client.models()
    assert cosine(vectors(body), client.embed([TEXT])).min() >= same(server)


@CHECKS.add()
def health(_server: Server, client: Client) -> None:
    """``/health`` answers 200 and JSON, which is what healthchecks and balancers read."""
    response = client.request("GET", "/health")
    assert response.status_code == 200, describe(response)
    assert response.json()["status"] == "ok"


@CHECKS.add()
def models(server: Server, client: Client) -> None:
    """``/v1/models`` lists the one model; synthetic weights never pass for the real ones."""
    body = client.request("GET", "/v1/models").json()
    assert body["object"] == "list"
    assert [each["object"] for each in body["data"]] == ["model"]
    (name,) = client.models()
    assert name.startswith(f"jina-embeddings-v5-text-{server.model.name}")
    assert name.endswith("-synthetic") == server.synthetic


@CHECKS.add()
def metrics(_server: Server, client: Client) -> None:
    """``/metrics`` is Prometheus text and counts the tokens of a request."""
    response = client.request("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain"), describe(response)
    before = client.metrics()["llamacpp:prompt_tokens_total"]
    # A text that no slot has met: what is in its cache is not computed, nor counted, again.
    used = client.embeddings(f"{uuid4().hex} {TEXT}")["usage"]["prompt_tokens"]
    # At least, not exactly: others may use the server at the same time.
    assert client.metrics()["llamacpp:prompt_tokens_total"] >= before + used
