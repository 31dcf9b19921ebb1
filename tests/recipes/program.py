"""A program of the docs, run as a person would run it: by a Python of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.server import Server
from tools.facts.models import load_models
from tools.facts.paths import ROOT

NANO = load_models().models["nano"]

#: What every program embeds, so that its vectors can be compared with the server's own.
SEARCH = "Why was my pod killed?"
TEXT = "The kernel ends a container that uses more memory than its limit."

#: Seconds for a program: the slowest imports for ten on two cores, the rest is for a busy machine.
TIMEOUT_SECONDS = 300

#: Clients that would ask hosts of their vendors: for prices, and to say that they are used.
QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "*",
}

#: Runs a program against the server under test: run_python without its first arguments.
Run = Callable[..., dict[str, Any]]

#: Put behind a program: what the test wants to see of it.
SHOW = """
import json as _json
from pathlib import Path as _Path
_shown = {{{expressions}}}
_Path("shown.json").write_text(_json.dumps(_shown, default=lambda each: each.tolist()))
"""


def block(page: str, heading: str, language: str) -> str:
    """Return the one block of a language under a heading of a page of docs/."""
    (found,) = blocks(page, heading, language)
    return found


def blocks(page: str, heading: str, language: str) -> list[str]:
    """Return the blocks of a language under a heading of a page of docs/, in their order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return found


def changed(program: str, old: str, new: str) -> str:
    """Return a program with the mistake that a test shows."""
    assert old in program
    return program.replace(old, new)


def aimed(program: str, server: Server) -> str:
    """Return a program for this server: its address, key, model and dimensions."""
    program = program.replace("768", str(server.model.dims))
    program = program.replace(NANO.served_as, server.model.served_as)
    program = program.replace("unused", server.api_key or "unused")
    # At last, because it may have any number in it.
    return changed(program, "http://localhost:8080", server.base_url)


def run_python(
    interpreter: str, server: Server, folder: Path, program: str, **expressions: str
) -> dict[str, Any]:
    """Run a program in a folder; the values that Python's expressions have at its end.

    What it prints is shown where it fails.
    """
    pairs = ", ".join(f"{name!r}: {value}" for name, value in expressions.items())
    text = aimed(program, server) + SHOW.format(expressions=pairs)
    file = folder / "program.py"
    file.write_text(text, encoding="utf-8")
    result = subprocess.run(
        [interpreter, file],
        cwd=folder,
        env={**os.environ, **QUIET, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
    return dict(json.loads((folder / "shown.json").read_text()))
