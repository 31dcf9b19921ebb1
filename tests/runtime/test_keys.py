"""The contract of keys, on servers that ask for one: by a variable, and from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.checks import browsers, health, keys, request_ids, routes
from tests.contract.checks.check import Check
from tests.support.boots import MODELS as BY_NAME
from tests.support.boots import Case, Served, each_case, each_model, plain, served, tiny
from tests.support.containers import with_model
from tests.support.server import Server
from tools.facts.models import Model

KEY = "the-first-key"
#: Those in which a key matters.
CHECKS = (
    *keys.CHECKS,
    *health.CHECKS,
    *routes.CHECKS,
    *browsers.CHECKS,
    *request_ids.CHECKS,
)


def described(server: Served, model: Model) -> Server:
    """What the checks want to know."""
    return Server(server.base_url, model, None, KEY, True, "Q8_0", False)


@each_case
def test_by_a_variable(patched: str, case: Case) -> None:
    with served(patched, case, settings={"LLAMA_API_KEY": f"{KEY},second"}) as server:
        for check in CHECKS:
            run(check, described(server, case.model))


@each_model
def test_from_a_file(patched: str, model: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "keys").write_bytes(f"# ours\r\n{KEY}\r\nsecond\r\n".encode())
    options = [
        *with_model(tiny(BY_NAME[model])),
        *("--volume", f"{tmp_path}:/run/secrets:ro"),
        *("--env", "LLAMA_ARG_API_KEY_FILE=/run/secrets/keys"),
    ]
    with plain(patched, options=options) as server:
        for check in keys.CHECKS:
            run(check, described(server, BY_NAME[model]))


def run(check: Check, server: Server) -> None:
    """Run a check, and say which one where it fails."""
    try:
        check.run(server)
    except AssertionError as error:
        pytest.fail(f"{check.name}: {error}")
