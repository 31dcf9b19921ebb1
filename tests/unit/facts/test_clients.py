"""The table of clients in the docs has the packages that are installed, in their versions."""

from __future__ import annotations

import json

import nox
from packaging.requirements import Requirement

from tests.unit.test_locks import PROJECT
from tools.facts.clients import NPM, PAGE, said, versions, with_versions

TABLE = "| [one](#one) | `one` 1.2.3, `@a/two` 4.5.6 (npm) | by `field` 2 times | `test_one.py` |\n"


def test_the_page_says_what_is_locked() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_versions(page, versions()) == page, "`python -m tools.facts.clients` writes them"


def test_the_page_has_each_client_that_is_asked_for_and_no_other() -> None:
    asked = nox.project.dependency_groups(PROJECT, "recipes")
    clients = {Requirement(each).name for each in asked}
    npm = json.loads((NPM / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert set(said(PAGE.read_text(encoding="utf-8"))) == clients | {
        f"{each} (npm)" for each in npm
    }


def test_only_versions_are_rewritten() -> None:
    locked = {"one": "1.2.4", "@a/two (npm)": "5.0.0", "field": "9"}
    assert said(TABLE) == {"one": "1.2.3", "@a/two (npm)": "4.5.6"}
    assert with_versions(TABLE, locked) == TABLE.replace("1.2.3", "1.2.4").replace("4.5.6", "5.0.0")
