"""What docs/serve/openapi.yaml describes is so: requests made from it, and their answers.

The same requests are sent each time. ``-m slow`` sends others for five minutes and prints
its seeds; ``--hypothesis-seed SEED`` begins with that one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
import requests
from schemathesis import Response
from schemathesis.schemas import BaseSchema

from tests.contract.checks.inputs import same
from tests.support import openapi
from tests.support.client import TIMEOUT_SECONDS, Client
from tests.support.openapi import INVALID, VALID
from tests.support.requirements import need
from tests.support.server import Server
from tests.support.vectors import cosine
from tools.common.console import say

SECONDS = 300
#: Requests of each kind to each operation, each time.
EXAMPLES = 15

OPERATIONS = openapi.operations()


class Fuzz:
    """Makes requests from the description, and judges what the server answers."""

    def __init__(self, server: Server, schema: BaseSchema, session: requests.Session) -> None:
        self.server = server
        self.schema = schema
        self.session = session
        self.valid: Counter[int] = Counter()
        self.invalid: Counter[int] = Counter()

    def send(self, case: openapi.Request) -> Response:
        """Send a request and judge its answer."""
        response = case.call(
            base_url=self.server.base_url, session=self.session, timeout=TIMEOUT_SECONDS
        )
        openapi.judge(case, response)
        return response

    def ask(self, method: str, path: str, seed: int) -> None:
        """Send valid requests, and to what takes a body invalid ones."""
        operation = self.schema[path][method]
        ways = [(VALID, self.valid)] + [(INVALID, self.invalid)] * (method == "POST")
        for mode, statuses in ways:

            def try_one(case: openapi.Request, statuses: Counter[int] = statuses) -> None:
                statuses[self.send(case).status_code] += 1

            openapi.each_example(
                operation, mode, number=EXAMPLES, seed=f"{seed} {method} {path}", try_one=try_one
            )


@contextmanager
def fuzzing(server: Server) -> Iterator[Fuzz]:
    """A fuzz after which the server must be as it was."""
    with Client(server.base_url, server.api_key) as client:
        (name,) = client.models()
        before = client.embed(["a good request"])
        with openapi.session(server) as session:
            yield Fuzz(server, openapi.described(server, name), session)
        assert cosine(client.embed(["a good request"]), before).min() >= same(server)


def need_patches(server: Server, config: pytest.Config) -> None:
    need(config, "patches", available=not server.bare, why="the bare server has other routes")


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param(*each, id=" ".join(each)) for each in OPERATIONS]
)
def test_a_route_is_as_described(
    server: Server, method: str, path: str, pytestconfig: pytest.Config
) -> None:
    need_patches(server, pytestconfig)
    with fuzzing(server) as fuzz:
        assert fuzz.send(openapi.example(fuzz.schema, method, path)).status_code == 200
        fuzz.ask(method, path, seed=0)


FIELDS = openapi.description()["components"]["schemas"]["Fields"]["properties"]
#: A route of each form, and the field that its texts go into.
FORMS = (("/v1/embeddings", "input"), ("/embed", "inputs"))


@pytest.mark.parametrize("field", sorted(set(FIELDS) - {"extra_body"}))  # that one holds others
def test_a_field_is_as_described(server: Server, field: str, pytestconfig: pytest.Config) -> None:
    """Each of its values is taken alone, and what it cannot be is refused: it is no unknown one."""
    need_patches(server, pytestconfig)
    with fuzzing(server) as fuzz:
        values = openapi.values(fuzz.schema.raw_schema, FIELDS[field])
        assert values
        for path, inputs in FORMS:
            for value in values:
                case = fuzz.schema[path]["POST"].Case(body={inputs: "a text", field: value})
                assert fuzz.send(case).status_code == 200, f"{path} {value!r}"
            case = fuzz.schema[path]["POST"].Case(body={inputs: "a text", field: {"a": 1}})
            response = fuzz.send(case)
            assert response.status_code in (400, 422), path
            assert f"`{field}`" in response.text, response.text


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
def test_all_routes_are_as_described(server: Server, pytestconfig: pytest.Config) -> None:
    need_patches(server, pytestconfig)
    first = openapi.seed(pytestconfig)
    deadline = time.monotonic() + SECONDS
    asked = ((seed, *each) for seed in count(first) for each in OPERATIONS)
    with fuzzing(server) as fuzz:
        for seed, method, path in asked:
            if time.monotonic() > deadline:
                break
            if (method, path) == OPERATIONS[0]:
                say(f"fuzz: --hypothesis-seed {seed}")
            fuzz.ask(method, path, seed)
    say(f"fuzz: valid by status {dict(sorted(fuzz.valid.items()))}")
    say(f"fuzz: invalid by status {dict(sorted(fuzz.invalid.items()))}")
    assert fuzz.valid[200] > fuzz.valid.total() // 10, fuzz.valid
