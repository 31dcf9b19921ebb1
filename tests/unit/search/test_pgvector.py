"""The parts of the PostgreSQL path that need no database, and the facts that are written twice."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tools.common.errors import ToolError
from tools.facts.images import ImageOrigin, load_images
from tools.facts.paths import ROOT
from tools.search.postgresql.boot import (
    BASE,
    COMPOSE_FILE,
    CONTEXT,
    DATABASE_IMAGE,
    PROJECT,
    SERVICE,
)
from tools.search.postgresql.load import check_version, indexes_used

TEXT = COMPOSE_FILE.read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)


@pytest.mark.parametrize("version", ["0.4.4", "0.4"])
def test_a_pgvector_without_hnsw_is_refused(version: str) -> None:
    with pytest.raises(ToolError, match=f"pgvector {version} has no HNSW"):
        check_version(version)


@pytest.mark.parametrize("version", ["0.5.0", "0.8.0", "0.10.1", "1.0"])
def test_a_newer_pgvector_is_taken(version: str) -> None:
    check_version(version)


def test_an_index_is_found_anywhere_in_a_plan() -> None:
    scan = {"Node Type": "Index Scan", "Index Name": "hnsw"}
    sequential = {"Node Type": "Seq Scan"}
    assert indexes_used({"Node Type": "Limit", "Plans": [sequential, {"Plans": [scan]}]}) == {
        "hnsw"
    }
    assert indexes_used({"Node Type": "Sort", "Plans": [sequential]}) == set()


def test_the_dockerfile_starts_from_the_base_of_the_catalogue() -> None:
    (base,) = re.findall(r"^FROM (\S+)$", (CONTEXT / "Dockerfile").read_text(), re.MULTILINE)
    origin = load_images().base[0]
    assert isinstance(origin, ImageOrigin)
    assert base == BASE == origin.reference


def test_compose_agrees_with_the_tools() -> None:
    assert COMPOSE["name"] == PROJECT
    assert COMPOSE["services"][SERVICE]["image"] == f"${{JINA_POSTGRES_IMAGE:-{DATABASE_IMAGE}}}"


def test_the_docs_name_every_variable_with_its_default() -> None:
    table = (ROOT / "docs" / "search" / "postgresql.md").read_text()
    for name, default in set(re.findall(r"\$\{(\w+):?-([^}]*)\}", TEXT)):
        assert re.search(rf"^\| `{name}` +\| `{re.escape(default)}` ", table, re.MULTILINE), name
    required = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert all(f"| `{name}` | none" in table for name in required)
