"""The contract, against any server: ``pytest tests/contract --base-url URL --model nano``."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.contract.checks import numbers
from tests.contract.checks.all import CHECKS
from tests.contract.checks.check import Check
from tests.support.published import published
from tests.support.requirements import need, required
from tests.support.server import Server
from tools.facts.models import RETRIEVAL

#: On a small CPU the real nano takes most of a minute at its full context; the real small would
#: take most of an hour, which nobody should start by accident.
LONGEST_UNASKED = 8192


def _need(config: pytest.Config, server: Server, name: str) -> None:
    match name:
        case "model-file":
            need(
                config,
                name,
                available=server.model_file is not None and server.quantisation in numbers.BARS,
                why=f"the served GGUF file (--model-file), as one of {', '.join(numbers.BARS)}",
            )
        case "real-weights":
            need(config, name, available=not server.synthetic, why="the server's are synthetic")
        case "published-figures":
            need(
                config,
                name,
                available=server.model.name in published() and server.quantisation == "Q8_0",
                why="they are of nano's Q8_0 file only",
            )
        case "api-key":
            why = "the server asks for none (--api-key); tests/runtime boots one that does"
            need(config, name, available=server.api_key is not None, why=why)
        case "task":
            why = "the server's task is retrieval; tests/runtime boots one of each other"
            need(config, name, available=server.task != RETRIEVAL, why=why)
        case "full-context":
            need(
                config,
                name,
                available=server.synthetic
                or server.model.context <= LONGEST_UNASKED
                or name in required(config),
                why=f"{server.model.context} tokens on real weights take long;"
                f" --require {name} runs it",
            )
        case "short-context":
            need(
                config,
                name,
                available=server.model.context <= LONGEST_UNASKED or name in required(config),
                why=f"{server.model.context} tokens take long; --require {name} runs it",
            )
        case _:
            raise AssertionError(f"no requirement is called {name!r}")


#: The needs of checks whose inputs are as long as the context.
FULL_LENGTH = {"full-context", "short-context"}


def _named(checks: Iterable[Check]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                check,
                id=check.name,
                marks=[pytest.mark.full_length] if FULL_LENGTH & set(check.needs) else [],
            )
            for check in checks
        ],
    )


@_named(check for check in CHECKS if check not in numbers.CHECKS)
def test_contract(check: Check, server: Server, request: pytest.FixtureRequest) -> None:
    _run(check, server, request)


@pytest.mark.every_quantisation
@_named(numbers.CHECKS)
def test_numbers(check: Check, server: Server, request: pytest.FixtureRequest) -> None:
    _run(check, server, request)


def _run(check: Check, server: Server, request: pytest.FixtureRequest) -> None:
    for name in check.needs:
        _need(request.config, server, name)
    if server.bare and check.xfail is not None and server.model.name in check.xfail_with:
        # Only an assertion is the expected failure: a server that is gone is not.
        request.applymarker(
            pytest.mark.xfail(strict=True, raises=AssertionError, reason=check.xfail)
        )
    check.run(server)
