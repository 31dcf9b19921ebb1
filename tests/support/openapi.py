"""docs/serve/openapi.yaml: what it describes, and requests that are made from it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded_with
from schemathesis import Case, GenerationMode, Response
from schemathesis import openapi as schemathesis
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.server import Server
from tools.facts.paths import ROOT

#: A request that is made from the description, or by hand.
Request = Case[Any]

DESCRIPTION = ROOT / "docs" / "serve" / "openapi.yaml"

CONFORMS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


def description() -> dict[str, Any]:
    """Return the description as it is written."""
    raw: dict[str, Any] = yaml.safe_load(DESCRIPTION.read_text())
    return raw


def operations() -> list[tuple[str, str]]:
    """Return the method and the path of each operation."""
    raw = description()
    items = raw["components"]["pathItems"]
    return [
        (method.upper(), path)
        for path, item in raw["paths"].items()
        for method in items[item["$ref"].rpartition("/")[2]]
        if method != "parameters"
    ]


def described(server: Server, name: str) -> BaseSchema:
    """Return the description with the sizes and tokens of the served model, which is called so."""
    raw = description()
    model = server.model.name.capitalize()
    parts = raw["components"]
    parts["schemas"]["Size"]["anyOf"] = [
        {"$ref": f"#/components/schemas/SizeOf{model}"},
        {"type": "null"},
    ]
    parts["schemas"]["Token"] = {"$ref": f"#/components/schemas/TokenOf{model}"}
    (parameter,) = (each for each in parts["pathItems"]["model"]["parameters"] if "name" in each)
    parameter["example"] = name
    return schemathesis.from_dict(raw)


def example(schema: BaseSchema, method: str, path: str) -> Request:
    """Return the request that the description gives as an example."""
    raw = schema.raw_schema
    item = raw["components"]["pathItems"][raw["paths"][path]["$ref"].rpartition("/")[2]]
    given = {each["name"]: each["example"] for each in item["parameters"] if "name" in each}
    more: dict[str, Any] = {}
    if method == "POST":
        more["body"] = item["post"]["requestBody"]["content"]["application/json"]["example"]
    return schema[path][method].Case(path_parameters=given, **more)


def seed(config: pytest.Config) -> int:
    """Return the number of ``--hypothesis-seed``, or any."""
    given = config.getoption("--hypothesis-seed")
    return random.randrange(2**32) if given is None else int(given)


def values(raw: dict[str, Any], schema: dict[str, Any]) -> list[Any]:
    """Return every value that a schema lists, the ends of a range, and one of any other kind."""
    if "$ref" in schema:
        return values(raw, raw["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return list(schema["enum"])
    if "anyOf" in schema:
        return [value for each in schema["anyOf"] for value in values(raw, each)]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    found: list[Any] = []
    for kind in kinds:
        match kind:
            case "null":
                found.append(None)
            case "boolean":
                found += [True, False]
            case "integer":
                found += [schema["minimum"], schema["maximum"]]
            case "string":
                found.append("a text")
            case "array":
                found += [[value] for value in values(raw, schema["items"])]
            case _:
                raise AssertionError(f"no value of the type {kind}: {schema}")
    return found


def judge(case: Request, response: Response | httpx.Response) -> None:
    """Expect an answer as it is described, and a refusal of what is described as wrong."""
    wrong = case.meta is not None and case.meta.generation.mode.is_negative
    case.validate_response(
        response, checks=[*CONFORMS, *([negative_data_rejection] if wrong else [])]
    )
    # What is described for other times: a model that is loaded, a server that ends.
    assert response.status_code < 500, f"{case.as_curl_command()}\n{response.status_code}"


def session(server: Server) -> requests.Session:
    """Return what sends requests with the server's key."""
    opened = requests.Session()
    opened.trust_env = False  # proxies are for the outside world
    if server.api_key:
        opened.headers["Authorization"] = f"Bearer {server.api_key}"
    return opened


def each_example(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    *,
    number: int,
    seed: str,
    try_one: Callable[[Request], None],
) -> None:
    """Make so many requests of an operation; where one fails, the smallest that does is shown."""

    @seeded_with(seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: Request) -> None:
        try_one(case)

    run()
