"""Haystack's embedders: those for OpenAI's API, and those for Jina's."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

OPENAI = block("search/frameworks.md", "Haystack", "python")
JINA = block("search/frameworks.md", "Haystack with Jina's components", "python")
SHOWN = {"query": "query", "document": "document.embedding"}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(OPENAI, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])


def test_an_address_without_a_side_loses_it(python: Run, wanted: Wanted) -> None:
    program = changed(OPENAI, "/query/v1", "/v1")
    wanted.has_lost_its_side(python(program, **SHOWN)["query"])


def test_a_failure_is_a_line_in_the_log_unless_it_is_raised(python: Run) -> None:
    """The server refuses 300 dimensions."""
    wrong = changed(OPENAI, "raise_on_failure=True", "raise_on_failure=True, dimensions=300")
    with pytest.raises(AssertionError, match=r"BadRequestError.*must be one of"):
        python(wrong, **SHOWN)
    quiet = changed(wrong, "raise_on_failure=True, ", "")
    quiet = changed(quiet, "print(len(document.embedding))", "")
    assert python(quiet, **SHOWN)["document"] is None


def test_each_side_of_jinas_components_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(JINA, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])


def test_jinas_components_without_a_task_lose_the_side(python: Run, wanted: Wanted) -> None:
    program = changed(JINA, 'task="retrieval.query", ', "")
    program = changed(program, 'task="retrieval.passage", ', "")
    ran = python(program, **SHOWN)
    wanted.has_lost_its_side(ran["query"])
    wanted.has_lost_its_side(ran["document"])
