"""Truth: an answer says which model computed it, and no other model's name is answered to."""

from __future__ import annotations

from tests.contract.checks.check import Checks
from tests.contract.checks.errors import assert_model_not_found
from tests.contract.checks.retrieval import MODELS
from tests.support.client import Client
from tests.support.server import Server

CHECKS = Checks()

_ECHOES = "llama-server answers in whatever name the request says"

#: Names that clients insist on, and that say nothing of ours.
OTHERS = ("text-embedding-3-small", "jina-embeddings-v5-text", "a name with blanks", "x" * 10_000)


def spellings(name: str) -> tuple[str, ...]:
    """How clients write the name of one of our models."""
    return name, f"jinaai/{name}", f"{name}-retrieval", f"jinaai/{name}-retrieval"


@CHECKS.add(xfail=_ECHOES)
def answers_name_the_model_that_computed(_server: Server, client: Client) -> None:
    """Whatever name a request says, the answer says the server's own."""
    (name,) = client.models()
    for asked in (name, *OTHERS):
        assert client.embeddings("a text", model=asked)["model"] == name, asked[:100]


@CHECKS.add(xfail=_ECHOES)
def its_own_name_has_spellings(server: Server, client: Client) -> None:
    """The served model may be called as its repository and its task are."""
    for asked in spellings(f"jina-embeddings-v5-text-{server.model.name}"):
        assert client.embeddings("a text", model=asked)["model"] == client.models()[0], asked


@CHECKS.add(xfail=_ECHOES)
def the_other_model_is_not_here(server: Server, client: Client) -> None:
    """Who asks for the other model must not get this one's vectors, which differ in meaning."""
    for other in sorted(set(MODELS.models) - {server.model.name}):
        for asked in spellings(f"jina-embeddings-v5-text-{other}"):
            for path in ("/v1/embeddings", "/query/v1/embeddings"):
                body = {"input": "a text", "model": asked}
                assert_model_not_found(client.request("POST", path, json=body))
