"""OpenAI's own client for Python."""

from __future__ import annotations

from tests.recipes.conftest import Wanted
from tests.recipes.program import Run, block, changed

PROGRAM = block("search/clients.md", "openai for Python", "python")
SHOWN = {"query": "query.data[0].embedding", "document": "document.data[0].embedding"}


def test_each_side_is_the_servers(python: Run, wanted: Wanted) -> None:
    ran = python(PROGRAM, **SHOWN)
    wanted.is_query(ran["query"])
    wanted.is_document(ran["document"])


def test_a_request_that_names_no_side_has_none(python: Run, wanted: Wanted) -> None:
    program = changed(PROGRAM, 'extra_body={"input_type": "query"},', "")
    wanted.has_lost_its_side(python(program, **SHOWN)["query"])


def test_the_address_is_enough(python: Run, wanted: Wanted) -> None:
    program = changed(PROGRAM, 'extra_body={"input_type": "query"},', "")
    program = changed(program, 'extra_body={"input_type": "document"},', "")
    program = changed(program, "8080/v1", "8080/query/v1")
    wanted.is_query(python(program, **SHOWN)["query"])
