"""How a verb ends: its exit code, what it says, and that it tidies up."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tools.facts.paths import ROOT

#: A verb that does what stands in BODY, and says when it tidies up.
VERB = """
import os, signal, sys
from tools.common.errors import ToolError, run_verb

# A shell without job control starts what it puts into the background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def main(arguments):
    try:
        BODY
    finally:
        print("tidied up")

sys.exit(run_verb(main))
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("print('done')", 0, ""),
        ("raise ToolError('no such file')", 1, "error: no such file\n"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 128 + signal.SIGTERM, "terminated\n"),
    ],
)
def test_a_verb_tidies_up_and_says_how_it_ended(body: str, code: int, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", VERB.replace("BODY", body)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (code, said)
    assert ended.stdout.endswith("tidied up\n")
