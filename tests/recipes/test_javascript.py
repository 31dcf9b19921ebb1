"""The clients in JavaScript: OpenAI's own, and Vercel's AI SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.program import TIMEOUT_SECONDS, aimed, block, changed
from tests.support.requirements import need
from tests.support.server import Server

#: Its package.json and lock.
PACKAGES = Path(__file__).parent / "js"

OPENAI = block("search/clients.md", "openai for JavaScript", "js")
VERCEL = block("search/clients.md", "Vercel AI SDK", "js")
OF_OPENAI = "[query.data[0].embedding, document.data[0].embedding]"
OF_VERCEL = "[query.embedding, document.embeddings[0]]"

#: Runs a program, and returns the value that an expression has at its end.
Run = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def packages(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages in their locked versions."""
    found = shutil.which("node") is not None and shutil.which("npm") is not None
    need(pytestconfig, "node", available=found, why="Node.js and npm are not on PATH")
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    node(["npm", "ci", "--ignore-scripts"], folder)
    return folder


def node(command: list[str], folder: Path) -> str:
    """Run a command that must succeed and return what it printed."""
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def run(packages: Path, patched: Server) -> Run:
    def run(program: str, shown: str) -> Any:
        text = aimed(program, patched) + f"console.log(JSON.stringify({shown}));\n"
        (packages / "program.mjs").write_text(text, encoding="utf-8")
        return json.loads(node(["node", "program.mjs"], packages).splitlines()[-1])

    return run


@pytest.mark.parametrize(
    ("program", "shown"), [(OPENAI, OF_OPENAI), (VERCEL, OF_VERCEL)], ids=["openai", "vercel"]
)
def test_each_side_is_the_servers(program: str, shown: str, run: Run, wanted: Wanted) -> None:
    query, document = run(program, shown)
    wanted.is_query(query)
    wanted.is_document(document)


def test_extra_body_works_as_in_python(run: Run, wanted: Wanted) -> None:
    program = changed(OPENAI, 'input_type: "query"', 'extra_body: { input_type: "query" }')
    query, _ = run(program, OF_OPENAI)
    wanted.is_query(query)


def test_the_ai_sdk_drops_a_field_that_it_does_not_know(run: Run, wanted: Wanted) -> None:
    """It sends the one that it knows."""
    program = changed(VERCEL, "8080/query/v1", "8080/v1")
    options = 'providerOptions: { jina: { input_type: "query", dimensions: 64 } },'
    program = changed(program, "value:", f"{options} value:")
    query, _ = run(program, OF_VERCEL)
    assert len(query) == 64
    whole, _ = run(changed(program, ", dimensions: 64", ""), OF_VERCEL)
    wanted.has_lost_its_side(whole)
