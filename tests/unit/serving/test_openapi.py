"""docs/serve/openapi.yaml says what the server's own source says, and its judge finds faults."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema_rs import ValidationError
from schemathesis import openapi as schemathesis
from schemathesis.core.failures import FailureGroup

from tests.contract.checks.errors import ROUTES_OF_COHERE, ROUTES_OF_TEI
from tests.contract.checks.routes import ALIASES
from tests.contract.checks.tasks import WORDS
from tests.support import openapi
from tests.support.openapi import INVALID, Request, each_example, judge
from tests.support.server import Server
from tests.support.toy.sides import ToySides
from tools.facts.models import OTHER_TASKS, RETRIEVAL, load_models
from tools.images.recipe import PATCHES

MODELS = load_models().models
OURS = PATCHES / "files" / "tools" / "server"
FIELDS = (OURS / "jina-fields.cpp").read_text()
APIS = (OURS / "jina-apis.cpp").read_text()
REQUESTS = (OURS / "jina-requests.cpp").read_text()
TASKS = (OURS / "jina-tasks.cpp").read_text()

DESCRIPTION = openapi.description()
PARTS = DESCRIPTION["components"]
SCHEMAS = PARTS["schemas"]

#: What reads a field in the source, and what describes it.
READERS = {
    "read_side": "Side",
    "read_size": "Size",
    "read_form": "Form",
    "read_numbers": "Numbers",
    "read_truncate": "Cut",
    "read_normalized": "Normalized",
    "read_norm": "Norm",
}
#: What says nothing, whatever field it stands in.
NOTHING: list[Any] = [None, "", []]


def part(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def table(source: str, name: str) -> str:
    """The rows of a table in the source."""
    (rows,) = re.findall(rf"\b{name}\[\]\s*= \{{.*?\n(.*?)\n\}};", source, re.DOTALL)
    return str(rows)


def words(name: str) -> set[str]:
    """What a choice in the source may be."""
    return set(re.findall(r'\{ "([^"]+)",', table(FIELDS, name)))


def words_of(task: str) -> set[str]:
    """What says a side, or the task itself, where the weights are for it."""
    rows = re.findall(r'\{ "([^"]+)",\s+\w+,\s+(\w+)\s*\}', table(FIELDS, "SIDES"))
    assert len(rows) == len(table(FIELDS, "SIDES").splitlines())
    return {word for word, tasks in rows if tasks in (task, "JINA_ANY_TASK")}


def refs(node: Any) -> Iterator[str]:
    """Every reference below a node."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from refs(each)


def test_it_is_valid() -> None:
    schemathesis.from_dict(DESCRIPTION).validate()
    with pytest.raises(ValidationError):
        schemathesis.from_dict({**DESCRIPTION, "info": {"title": "without a version"}}).validate()


def test_every_part_is_there_and_used() -> None:
    there = {
        f"#/components/{kind}/{name}"
        for kind in PARTS
        if kind != "securitySchemes"
        for name in PARTS[kind]
    }
    assert set(refs(DESCRIPTION)) == there


def test_it_has_the_routes_of_the_source() -> None:
    rows = table(REQUESTS, "OPEN") + table(REQUESTS, "KEYED")
    served = {path: method for method, path in re.findall(r'\{ "(\w+)",\s+"([^"]+)"\s*\}', rows)}
    assert len(served) > 15
    expected = {(method, path.replace("*", "{model}")) for path, method in served.items()}
    for alias, path in ALIASES.items():
        expected.add((served[path], alias))
        if path.endswith("/models"):
            expected.add(("GET", f"{alias}/{{model}}"))
    assert set(openapi.operations()) == expected
    assert len(openapi.operations()) == len(expected)


def test_what_needs_no_key_is_that_of_the_source() -> None:
    rows = table(REQUESTS, "OPEN")
    without = {
        path
        for path, item in DESCRIPTION["paths"].items()
        for operation in [PARTS["pathItems"][item["$ref"].rpartition("/")[2]]]
        if operation.get("get", {}).get("security") == []
    }
    assert without == set(re.findall(r'"(/[^"]+)"', rows))


def test_it_has_the_fields_of_the_source() -> None:
    rows = re.findall(r'\{ "(\w+)",\s+(read_\w+)\s*\}', table(FIELDS, "FIELDS"))
    fixed = re.findall(r'\{ "(\w+)",\s+\{(.*?)\},\s+"', table(FIELDS, "FIXED"))
    assert (len(rows), len(fixed)) > (20, 15)
    expected: dict[str, Any] = {"model": part("ModelName")}
    expected["extra_body"] = SCHEMAS["Fields"]["properties"]["extra_body"]
    assert expected["extra_body"]["type"] == ["object", "null"]
    for name, reader in rows:
        if reader in READERS:
            expected[name] = part(READERS[reader])
    for name, taken in fixed:
        values = json.loads(f"[{taken}]")
        expected[name] = {"enum": [*values, *NOTHING]} if values else part("Nothing")
    (places,) = re.findall(r"const char \* name : \{ (.*?) \}", APIS)  # where texts may stand
    for name in set(json.loads(f"[{places}]")) - {"input", "content"}:
        expected[name] = part("Nothing")
    found = dict(SCHEMAS["Fields"]["properties"])
    # Texts of text-embeddings-inference go there, so it stands in the other request alone.
    found["inputs"] = SCHEMAS["EmbeddingsRequest"]["allOf"][1]["properties"]["inputs"]
    assert found.pop("truncate_prompt_tokens")["enum"] == [-1, None]
    assert "read_kept_tokens" in {reader for _, reader in rows}
    assert found == expected
    assert SCHEMAS["Nothing"]["enum"] == NOTHING


def test_a_field_has_the_values_of_the_source() -> None:
    sides = {str(each).lower() for each in SCHEMAS["Side"]["enum"] if each}
    assert sides - {"task_type_unspecified"} == words_of("JINA_RETRIEVAL")
    assert set(SCHEMAS["FormName"]["enum"]) == words("FORMS")
    assert set(SCHEMAS["Numbers"]["enum"]) == {*words("NUMBERS"), None}
    cuts = {each.lower() for each in SCHEMAS["Cut"]["enum"] if isinstance(each, str)}
    assert cuts == words("CUTS")
    least, most = re.findall(r"value < (-?\d+) \|\| value > (\d+)", FIELDS)[0]
    assert (SCHEMAS["Norm"]["minimum"], SCHEMAS["Norm"]["maximum"]) == (int(least), int(most))


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_the_words_of_a_task_are_those_of_the_source(task: str) -> None:
    """In the description, the contract's check, and the toy that it is tried on."""
    names = words_of(f"JINA_{task.upper().replace('-', '_')}")
    said = {word.lower() for word in re.findall(r"`([^`]+)`", SCHEMAS["Side"]["description"])}
    assert names <= said
    assert {value.lower() for _, value in WORDS[task]} < names
    assert {word.lower() for word in ToySides(task).words()} == names


def test_the_tasks_are_those_of_the_source() -> None:
    names = re.findall(r'\{ JINA_\w+,\s+"([^"]+)"\s*\}', table(TASKS, "TASKS"))
    assert names == [RETRIEVAL, *OTHER_TASKS]
    assert SCHEMAS["Model"]["properties"]["task"]["enum"] == names


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_knows_the_models(name: str) -> None:
    model = MODELS[name]
    assert SCHEMAS[f"SizeOf{name.capitalize()}"]["enum"] == list(model.matryoshka)
    assert SCHEMAS[f"TokenOf{name.capitalize()}"]["maximum"] == model.shape.vocabulary - 1
    assert {each["$ref"] for each in SCHEMAS["Size"]["anyOf"] if "$ref" in each} == {
        part(f"SizeOf{each.capitalize()}")["$ref"] for each in MODELS
    }


def test_the_most_inputs_are_those_of_the_source() -> None:
    settings = (OURS / "jina-settings.cpp").read_text()
    (most,) = re.findall(r'"JINA_MAX_INPUTS", (\d+)', settings)
    assert SCHEMAS["Inputs"]["anyOf"][1]["maxItems"] == int(most)
    compared = SCHEMAS["SimilarityRequest"]["properties"]["inputs"]["properties"]["sentences"]
    assert compared["maxItems"] == int(most) - 1  # and the one that they are compared with


def test_it_has_the_errors_of_the_source() -> None:
    source = "".join(path.read_text() for path in OURS.glob("*.cpp"))
    types = set(re.findall(r'"(\w+_error|model_not_found)"', source))
    assert set(SCHEMAS["ErrorType"]["enum"]) == types
    codes = {"exceed_context_size_error": "context_length_exceeded"}
    codes["authentication_error"] = "invalid_api_key"
    assert set(SCHEMAS["ErrorCode"]["enum"]) == {codes.get(each, each) for each in types}
    (body,) = re.findall(r"tei_type_of\(.*?\n\}", source, re.DOTALL)[:1]
    assert set(SCHEMAS["TeiError"]["properties"]["error_type"]["enum"]) == set(
        re.findall(r'"([A-Z]\w+)"', body)
    )


@pytest.mark.parametrize(("method", "path"), openapi.operations())
def test_errors_have_the_form_of_their_route(method: str, path: str) -> None:
    item = PARTS["pathItems"][DESCRIPTION["paths"][path]["$ref"].rpartition("/")[2]]
    form = "TeiError" if ROUTES_OF_TEI.search(path) else "Error"
    form = "CohereError" if ROUTES_OF_COHERE.search(path) else form
    for status, response in item[method.lower()]["responses"].items():
        if status != "200":
            described = PARTS["responses"][response["$ref"].rpartition("/")[2]]
            assert described["content"] == {"application/json": {"schema": part(form)}}, status


# The judge, by which a server is held to the description.

SERVER = Server("http://127.0.0.1:1", MODELS["nano"], None, None, True, "Q8_0", False)
SCHEMA = openapi.described(SERVER, "a-name")
EMBEDDING = {"object": "embedding", "index": 0, "embedding": [0.5] * 32}
GOOD = {
    "object": "list",
    "model": "a-name",
    "data": [EMBEDDING],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
ERROR = {"message": "m", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer of a server, to whatever was asked."""
    response = httpx.Response(
        status,
        json=body,
        headers={"X-Request-Id": "an-id", **(headers or {})},
        request=httpx.Request("POST", SERVER.base_url + "/v1/embeddings"),
    )
    response.elapsed = datetime.timedelta()
    return response


def valid() -> Request:
    return SCHEMA["/v1/embeddings"]["POST"].Case(body={"input": "a text"})


def invalid() -> Request:
    cases: list[Request] = []
    operation = SCHEMA["/v1/embeddings"]["POST"]
    each_example(operation, INVALID, number=1, seed="0", try_one=cases.append)
    return cases[0]


def test_the_judge_takes_what_is_described() -> None:
    judge(valid(), answer(GOOD))
    judge(valid(), answer({"error": ERROR, "detail": "m"}, 400))
    judge(invalid(), answer({"error": ERROR, "detail": "m"}, 400))


@pytest.mark.parametrize(
    "wrong",
    [
        answer(GOOD, 202),
        answer({**GOOD, "data": []}),
        answer({**GOOD, "data": [{**EMBEDDING, "extra": 1}]}),
        answer({**GOOD, "data": [{**EMBEDDING, "embedding": [None] * 32}]}),
        answer({"error": "m", "error_type": "Validation"}, 400),
        answer({"error": {**ERROR, "code": 400}, "detail": "m"}, 400),
        answer(GOOD, headers={"X-Request-Id": "two words"}),
        answer(GOOD, headers={"Content-Type": "text/html"}),
    ],
    ids=lambda wrong: f"{wrong.status_code} {wrong.text[:30]}",
)
def test_the_judge_finds_an_answer_that_is_not_described(wrong: httpx.Response) -> None:
    with pytest.raises(FailureGroup):
        judge(valid(), wrong)


def test_the_judge_finds_an_error_of_the_server() -> None:
    body = {"error": {**ERROR, "type": "server_error", "code": "server_error"}, "detail": "m"}
    with pytest.raises(AssertionError, match="500"):
        judge(valid(), answer(body, 500))


def test_the_judge_finds_what_should_have_been_refused() -> None:
    with pytest.raises(FailureGroup):
        judge(invalid(), answer(GOOD))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_sizes_and_tokens_are_those_of_the_model(name: str) -> None:
    model = MODELS[name]
    server = Server("http://127.0.0.1:1", model, None, None, True, "Q8_0", False)
    raw = openapi.described(server, "a-name").raw_schema
    assert openapi.values(raw, part("Size")) == [*model.matryoshka, None]
    assert openapi.values(raw, part("Token")) == [0, model.shape.vocabulary - 1]


def test_values_are_all_that_a_field_may_be() -> None:
    names = ["float", "base64", "int8", "uint8", "binary", "ubinary"]
    assert openapi.values(DESCRIPTION, part("Form")) == [*names, *([name] for name in names), None]
    assert openapi.values(DESCRIPTION, part("Norm")) == [-1, 100, None]
    assert openapi.values(DESCRIPTION, part("Normalized")) == [True, False, None]
    assert openapi.values(DESCRIPTION, part("ModelName")) == ["a text", None]
