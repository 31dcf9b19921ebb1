"""What the image answers, by the routes that stand in its own files: embeddings, nothing else.

Upstream adds routes with every release, and a source that we build may have some that no list of
ours knows. Whatever text of the image looks like a route is tried.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.contract.checks.routes import ALIASES, NOT_SERVED, SERVED
from tests.support.boots import MODELS, plain, tiny
from tests.support.client import describe
from tests.support.containers import docker, is_bare, with_model
from tests.support.requirements import need

#: A route as it stands in a program: a string of its own. The end of one may serve as another.
ROUTE = re.compile(rb"\x00(/[a-z0-9][a-z0-9/_:.-]*)(?=\x00)")
#: The parts of a route that stand for anything: `/slots/:id_slot`.
PARAMETER = re.compile(r":[a-z0-9_]+|\*")

#: Good requests of what generates, reranks or changes the server; none of them may be answered.
GENERATING = {
    "/completion": {"prompt": "a text", "n_predict": 1},
    "/completions": {"prompt": "a text", "max_tokens": 1},
    "/v1/completions": {"prompt": "a text", "max_tokens": 1},
    "/chat/completions": {"messages": [{"role": "user", "content": "a text"}], "max_tokens": 1},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a text"}], "max_tokens": 1},
    "/v1/responses": {"input": "a text", "max_output_tokens": 1},
    "/v1/messages": {"messages": [{"role": "user", "content": "a text"}], "max_tokens": 1},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 1},
    "/rerank": {"query": "a text", "documents": ["a", "b"]},
    "/v1/rerank": {"query": "a text", "documents": ["a", "b"]},
    "/apply-template": {"messages": [{"role": "user", "content": "a text"}]},
    "/slots/0?action=erase": {},
    "/lora-adapters": [],
    "/props": {"default_generation_settings": {}},
}


def texts_of(image: str) -> set[str]:
    """Every text in the image's own programs and libraries that looks like a route."""
    container = docker("create", image)
    try:
        copied = subprocess.run(
            ["docker", "cp", f"{container}:/app", "-"], capture_output=True, check=True, timeout=120
        )
    finally:
        docker("rm", "--force", container)
    whole = {found.decode() for found in ROUTE.findall(copied.stdout)}
    # The linker keeps "/embeddings" as the end of "/v1/embeddings".
    ends = {text[at:] for text in whole for at in range(1, len(text)) if text[at] == "/"}
    # A slash at the end makes no other route.
    named = {text.rstrip("/") for text in whole | ends}
    return {PARAMETER.sub("0", text) for text in named if text}


@pytest.fixture(scope="module")
def client(image: str, pytestconfig: pytest.Config) -> Iterator[httpx.Client]:
    """A client of a server of the image."""
    need(pytestconfig, "patches", available=not is_bare(image), why="built with --no-patches")
    with (
        plain(image, options=with_model(tiny(MODELS["nano"]))) as server,
        httpx.Client(base_url=server.base_url, trust_env=False, timeout=60) as http,
    ):
        yield http


def is_model(path: str) -> bool:
    """Whether a path is that of a model's entry, which there may or may not be."""
    return re.fullmatch(r"(/v1)?/models/[^/]+", path) is not None


def test_no_text_of_the_image_is_a_route_beside_those_listed(
    image: str, client: httpx.Client
) -> None:
    paths = texts_of(image)
    # The search finds what is there: routes that are served, and those that must not be.
    assert {"/v1/embeddings", "/query/v1/embeddings", "/completion"} <= paths
    assert len(paths) > 50
    answered = set()
    for path in sorted(paths):
        for method in ("GET", "POST"):
            response = client.request(method, path, json={} if method == "POST" else None)
            if response.status_code not in (404, 405):
                answered.add((method, path))
            elif response.status_code == 405:
                assert path in SERVED or path in ALIASES or is_model(path), describe(response)
    served = {(method, path) for path, method in SERVED.items()}
    assert answered <= served | {(SERVED[path], alias) for alias, path in ALIASES.items()}
    assert ("POST", "/v1/embeddings") in answered


@pytest.mark.parametrize("path", sorted(GENERATING))
def test_good_requests_of_other_kinds_are_not_answered(client: httpx.Client, path: str) -> None:
    response = client.post(path, json=GENERATING[path])
    assert response.status_code == 404, describe(response)
    assert response.json()["error"]["type"] == "not_found_error"


def test_the_contract_names_every_route_of_other_kinds() -> None:
    """What is tried here with good requests is refused there on any server."""
    assert {path.partition("?")[0] for path in GENERATING} <= set(NOT_SERVED)
