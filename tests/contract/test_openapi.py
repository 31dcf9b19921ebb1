"""What docs/serve/openapi.yaml describes is so: requests made from it, and their answers.

The same requests are sent each time. ``-m slow`` sends others for five minutes and prints its seed;
``--hypothesis-seed SEED`` sends those again.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
import requests
from schemathesis import Case
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

#: llama.cpp's own, which take a value of another type for none, or for another value.
LENIENT = ("/tokenize", "/detokenize")

OPERATIONS = openapi.operations()


class Fuzz:
    """Makes requests from the description, and judges what the server answers."""

    def __init__(self, server: Server, schema: BaseSchema, session: requests.Session) -> None:
        self.server = server
        self.schema = schema
        self.session = session
        self.valid: Counter[int] = Counter()
        self.invalid: Counter[int] = Counter()

    def ask(self, method: str, path: str, seed: int) -> None:
        """Send valid requests, and to what takes a body invalid ones."""
        operation = self.schema[path][method]
        ways = [(VALID, self.valid)] + [(INVALID, self.invalid)] * (method == "POST")
        for mode, statuses in ways:

            def try_one(case: Case, statuses: Counter[int] = statuses) -> None:
                response = case.call(
                    base_url=self.server.base_url, session=self.session, timeout=TIMEOUT_SECONDS
                )
                openapi.judge(case, response, lenient=path in LENIENT)
                statuses[response.status_code] += 1

            openapi.each_example(operation, mode, number=EXAMPLES, seed=seed, try_one=try_one)


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


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=" ".join)
def test_a_route_is_as_described(
    server: Server, method: str, path: str, pytestconfig: pytest.Config
) -> None:
    need_patches(server, pytestconfig)
    with fuzzing(server) as fuzz:
        fuzz.ask(method, path, seed=0)
    # Each route has an example in the description that succeeds.
    assert fuzz.valid[200], fuzz.valid


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
def test_all_routes_are_as_described(server: Server, pytestconfig: pytest.Config) -> None:
    need_patches(server, pytestconfig)
    given = pytestconfig.getoption("--hypothesis-seed")
    first = random.randrange(2**32) if given is None else int(given)
    deadline = time.monotonic() + SECONDS
    with fuzzing(server) as fuzz:
        for seed in count(first):
            for method, path in OPERATIONS:
                if time.monotonic() > deadline:
                    break
                say(f"--hypothesis-seed {seed}: {method} {path}")
                fuzz.ask(method, path, seed)
            else:
                continue
            break
    say(f"fuzz: valid by status {dict(sorted(fuzz.valid.items()))}")
    say(f"fuzz: invalid by status {dict(sorted(fuzz.invalid.items()))}")
    assert fuzz.valid[200] > fuzz.valid.total() // 10, fuzz.valid
