"""tests/recipes runs every row of the table of clients, and only where it is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import noxfile
from tests.conftest import RECIPES, pytest_ignore_collect
from tests.contract.checks.recorded import clients
from tools.facts.paths import ROOT

PAGE = (ROOT / "docs" / "search" / "clients.md").read_text(encoding="utf-8")
#: A row: the client's link, and the test that runs it.
ROWS = re.findall(r"^\| \[.*?\]\((\S+?)\) \|.*\| `(test_\w+\.py)` \|$", PAGE, re.MULTILINE)
#: What they run is no client, and is on pages of its own.
NO_CLIENTS = {"test_proxies.py", "test_prometheus.py", "test_rules.py", "test_monitoring.py"}
NPM = json.loads((RECIPES / "js" / "package-lock.json").read_text(encoding="utf-8"))["packages"]


def test_the_lock_of_npm_is_of_its_package_json() -> None:
    asked = json.loads((RECIPES / "js" / "package.json").read_text(encoding="utf-8"))
    assert asked["dependencies"] == NPM[""]["dependencies"]
    assert all("integrity" in each for path, each in NPM.items() if path)


def test_every_row_is_run_and_every_test_has_a_row() -> None:
    tests = {path.name for path in RECIPES.glob("test_*.py")}
    assert {test for _, test in ROWS} == tests - NO_CLIENTS
    for link, test in ROWS:
        page, _, anchor = link.partition("#")
        text = (ROOT / "docs" / "search" / (page or "clients.md")).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-"): each
            for each in re.findall(r"^## (.+)$", text, re.MULTILINE)
        }
        assert f'"{headings[anchor]}"' in (RECIPES / test).read_text(encoding="utf-8"), link


def test_every_client_that_is_replayed_has_a_row_and_a_source() -> None:
    (table,) = re.findall(r"^## Replayed\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| \[?([^|\]]+?)\]?(?:\(#\w+\))? \|", table, re.MULTILINE)[2:]
    assert sorted(rows) == sorted(client["name"] for client in clients())
    for client in clients():
        assert client["repository"].count("/") == 1
        assert re.fullmatch(r"[0-9a-f]{40}|\d+(\.\d+)+", client["commit"]), client
        assert client["file"]


class Config:
    """What the hook looks at."""

    def __init__(self, *args: str) -> None:
        self.args = args
        self.invocation_params = type("Params", (), {"dir": ROOT})


@pytest.mark.parametrize(
    ("named", "left_out"),
    [
        (["tests"], True),
        (["tests/unit", "tests/runtime/test_stack.py"], True),
        (["tests/recipes"], None),
        (["tests/unit", "tests/recipes/test_openai.py::test_the_address_is_enough"], None),
    ],
)
def test_recipes_are_collected_where_they_are_named(
    named: list[str], left_out: bool | None
) -> None:
    config = Config(*named)
    assert pytest_ignore_collect(RECIPES, config) is left_out  # type: ignore[arg-type]
    assert pytest_ignore_collect(RECIPES.parent / "unit", config) is None  # type: ignore[arg-type]


def test_so_is_what_is_in_a_cluster() -> None:
    deploy = RECIPES.parent / "deploy"
    assert pytest_ignore_collect(deploy, Config("tests/recipes")) is True  # type: ignore[arg-type]
    assert pytest_ignore_collect(deploy, Config("tests/deploy")) is None  # type: ignore[arg-type]


class Session:
    """A nox session that notes what it would run."""

    def __init__(self, *posargs: str) -> None:
        self.posargs = posargs
        self.ran: list[tuple[str, ...]] = []

    def run(self, *arguments: str, **_: object) -> None:
        self.ran.append(arguments)


def test_the_clients_are_installed_where_recipes_are_named_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def environment(_session: Session, folder: Path, packages: str) -> str:
        made.append(packages)
        return str(folder / "python")

    monkeypatch.setattr(noxfile, "environment", environment)
    session = Session("tests/contract")
    noxfile.test(session)
    assert "--clients" not in session.ran[-1]
    assert "recipes" not in made
    session = Session("tests/recipes/test_openai.py")
    noxfile.test(session)
    assert "recipes" in made
    ran = session.ran[-1]
    assert ran[ran.index("--clients") + 1] == str(noxfile.CLIENTS / "python")
