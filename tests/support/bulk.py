"""A bulk job in a process of its own, which stores small parts and can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from signal import SIGKILL

from tests.support.waiting import HANG_SECONDS, wait_until
from tools.facts.paths import ROOT

#: The verb, but with parts of so many rows.
_VERB = """
import sys
from tools.common.errors import run_verb
from tools.embed import pipeline
from tools.embed.__main__ import main

pipeline.ROWS_A_PART = int(sys.argv.pop(1))
sys.exit(run_verb(main))
"""


def write_jsonl(path: Path, texts: Iterable[str]) -> Path:
    """Write rows with a number as id and a text."""
    rows = ({"id": number, "text": text} for number, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def started(*arguments: object, rows_a_part: int = 50) -> subprocess.Popen[str]:
    """Start a job with the verb's arguments."""
    return subprocess.Popen(
        [sys.executable, "-c", _VERB, str(rows_a_part), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def parts_of(output: Path) -> list[str]:
    """The names of the parts that are stored."""
    return sorted(path.name for path in Path(f"{output}.parts").glob("*.npy"))


def wait_for_parts(job: subprocess.Popen[str], output: Path, more_than: int) -> None:
    """Return once a job that runs has stored more parts."""
    wait_until(
        lambda: len(parts_of(output)) > more_than or job.poll() is not None,
        f"more than {more_than} parts",
    )


def killed_once_it_has_stored_more(*arguments: object, output: Path) -> None:
    """Start a job, kill it with -9 when it has stored another part, and expect some left to do."""
    before = len(parts_of(output))
    job = started(*arguments)
    wait_for_parts(job, output, before)
    job.kill()
    said = job.communicate(timeout=HANG_SECONDS)
    assert job.returncode == -SIGKILL, said
    assert not output.exists()


def finished(*arguments: object) -> str:
    """Run a job to its end; what it said."""
    job = started(*arguments)
    out, err = job.communicate(timeout=HANG_SECONDS * 5)
    assert job.returncode == 0, err
    return out
