"""DSPy's embedder, which goes through LiteLLM."""

from __future__ import annotations

from tests.recipes.conftest import Wanted
from tests.recipes.program import SEARCH, Run, block, changed

PROGRAM = block("search/frameworks.md", "DSPy", "python")
SHOWN = {"query": "query", "document": "document"}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])


def by_address(more: str = "") -> str:
    """The program with the sides in the address, both asked for the same text."""
    program = PROGRAM
    for side in ("query", "document"):
        address = f'api_base="http://localhost:8080/{side}/v1"{more}'
        program = changed(program, f'input_type="{side}"', address)
    program = changed(program, '    "api_base": "http://localhost:8080/v1",\n', "")
    return program + f'one, other = documents("{SEARCH}"), queries("{SEARCH}")\n'


def test_the_address_is_forgotten_where_an_answer_is_kept(python: Run, wanted: Wanted) -> None:
    """Both give the vector that came first."""
    ran = python(by_address(), one="one", other="other")
    assert ran["one"] == ran["other"]
    wanted.is_query(ran["one"])


def test_without_the_cache_the_address_holds(python: Run, wanted: Wanted) -> None:
    ran = python(by_address(", caching=False"), one="one", other="other")
    wanted.has_lost_its_side(ran["one"])
    wanted.is_query(ran["other"])
