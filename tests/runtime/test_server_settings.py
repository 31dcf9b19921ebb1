"""Settings: blank ones, wrong ones, what cannot be served, and what needs no setting at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.contract.checks.inputs import token_array
from tests.support.boots import MODELS, Case, each_case, each_model, plain, served, tiny, variables
from tests.support.containers import with_model
from tools.engine.docker import run_docker

#: Every variable of compose, of README and of the image that a blank may stand for, but for those
#: that say where the server listens and which model it serves.
BLANK = (
    "GOMP_SPINCOUNT",
    "JINA_ALLOWED_ORIGINS",
    "JINA_BODY_SECONDS",
    "JINA_CACHE_MB",
    "JINA_DIMENSIONS",
    "JINA_DRAIN_SECONDS",
    "JINA_HEADER_SECONDS",
    "JINA_IDLE_SECONDS",
    "JINA_LOG_FORMAT",
    "JINA_MAX_BODY_MB",
    "JINA_MAX_INPUTS",
    "JINA_MAX_WAITING_INPUTS",
    "JINA_MAX_WAITING_MB",
    "JINA_MODELS",
    "JINA_TASK",
    "LLAMA_API_KEY",
    "LLAMA_ARG_ALIAS",
    "LLAMA_ARG_API_KEY_FILE",
    "LLAMA_ARG_API_PREFIX",
    "LLAMA_ARG_BATCH",
    "LLAMA_ARG_CTX_SIZE",
    "LLAMA_ARG_N_PARALLEL",
    "LLAMA_ARG_PORT",
    "LLAMA_ARG_THREADS",
    "LLAMA_ARG_THREADS_HTTP",
    "LLAMA_ARG_UBATCH",
)

#: The settings that are numbers; none of them may be any of these.
NUMBERS = (
    "JINA_BODY_SECONDS",
    "JINA_CACHE_MB",
    "JINA_DRAIN_SECONDS",
    "JINA_HEADER_SECONDS",
    "JINA_IDLE_SECONDS",
    "JINA_MAX_BODY_MB",
    "JINA_MAX_INPUTS",
    "JINA_MAX_WAITING_INPUTS",
    "JINA_MAX_WAITING_MB",
)
NO_NUMBERS = ("lots", "-1", "1.5", "10s", "99999999999999999999")
WRONG = [
    *((name, value) for name in NUMBERS for value in NO_NUMBERS),
    ("JINA_LOG_FORMAT", "xml"),
    ("JINA_MODELS", "nano"),
    ("JINA_TASK", "searching"),
]


def ended(image: str, model: str, settings: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Start a server that must end by itself; its exit code and all that it said."""
    options = [*with_model(tiny(MODELS[model])), *variables(settings)]
    run = run_docker(["run", "--rm", "--network", "none", *options, image, *arguments], timeout=120)
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_ends_the_server_and_is_named(patched: str, name: str, value: str) -> None:
    code, said = ended(patched, "nano", {name: value})
    assert code == 1, said
    assert name in said
    assert value in said


@pytest.mark.parametrize("blank", ["", "  "], ids=["empty", "blanks"])
@each_case
def test_blank_variables_are_as_if_not_set(patched: str, case: Case, blank: str) -> None:
    """Compose and .env files cannot leave a variable out, only leave it blank."""
    blanks = dict.fromkeys(BLANK, blank)
    with served(patched, case, settings=blanks) as server, server.client() as client:
        assert client.embed(["a text"]).shape == (1, case.model.dims)


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({}, ["--reranking"], "rerank"),
        ({"LLAMA_ARG_RERANKING": "1"}, [], "rerank"),
        ({"LLAMA_ARG_POOLING": "rank"}, [], "rank"),
        ({}, ["--pooling", "rank"], "rank"),
        ({"LLAMA_ARG_MODEL": ""}, [], "LLAMA_ARG_MODEL"),
        ({"LLAMA_ARG_MODEL": " "}, [], "LLAMA_ARG_MODEL"),
    ],
    ids=str,
)
@each_model
def test_what_cannot_be_served_is_said(
    patched: str, model: str, settings: dict[str, str], arguments: Sequence[str], said: str
) -> None:
    """It was healthy, and answered with bytes of its memory, or with nothing at all."""
    code, output = ended(patched, model, settings, *arguments)
    assert code == 1, output
    sentences = [line for line in output.splitlines() if said in line and len(line.split()) > 4]
    assert sentences, output


@each_model
def test_a_plain_run_serves_the_whole_context(patched: str, model: str) -> None:
    """Without compose: the micro-batch of a bidirectional model was 512 tokens."""
    known = MODELS[model]
    with (
        plain(patched, options=with_model(tiny(known))) as server,
        server.client() as client,
    ):
        for length in (513, known.context - 1, known.context):
            body = client.embeddings(token_array(client, length))
            assert body["usage"]["prompt_tokens"] == length
        response = client.request(
            "POST", "/v1/embeddings", json={"input": token_array(client, known.context + 1)}
        )
        assert response.status_code == 400
        assert client.metrics()["llamacpp:prompt_tokens_total"] > known.context
