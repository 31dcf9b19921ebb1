"""LiteLLM, under each name that leads to this server."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/clients.md", "LiteLLM", "python")
SHOWN = {"query": 'query.data[0]["embedding"]', "document": 'document.data[0]["embedding"]'}
NAMES = ["jina_ai", "openai", "openai_like"]


def named(name: str, program: str = PROGRAM) -> str:
    return changed(program, "jina_ai/", f"{name}/")


@pytest.mark.parametrize("name", NAMES)
def test_each_side_is_the_servers(name: str, python: Run, wanted: Wanted) -> None:
    """One side by each of the two fields that the page names."""
    program = changed(named(name), 'task="retrieval.passage"', 'input_type="document"')
    ran = python(program, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_in_extra_body_arrives(name: str, python: Run, wanted: Wanted) -> None:
    """Some names send it as a field of that name, which the server takes apart."""
    program = changed(
        named(name), 'task="retrieval.query"', 'extra_body={"task": "retrieval.query"}'
    )
    wanted.is_query(python(program, **SHOWN)["query"])


def test_the_size_arrives_under_one_name_and_is_allowed_under_another(python: Run) -> None:
    sized = changed(PROGRAM, '"api_key"', '"dimensions": 64,\n    "api_key"')
    assert len(python(sized, **SHOWN)["query"]) == 64
    allowing = changed(sized, '": 64,', '": 64, "allowed_openai_params": ["dimensions"],')
    assert len(python(named("openai", allowing), **SHOWN)["query"]) == 64
    for refused in (named("openai", sized), named("openai_like", allowing)):
        with pytest.raises(AssertionError, match="UnsupportedParamsError"):
            python(refused, **SHOWN)


def test_a_size_that_is_dropped_leaves_the_vector_whole(python: Run, wanted: Wanted) -> None:
    sized = changed(PROGRAM, '"api_key"', '"dimensions": 64,\n    "api_key"')
    dropping = changed(sized, "import litellm\n", "import litellm\nlitellm.drop_params = True\n")
    wanted.is_query(python(named("openai", dropping), **SHOWN)["query"])
