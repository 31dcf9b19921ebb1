"""Run the script of a step as a runner does."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: GitHub's command lines (docs.github.com/en/actions/reference/workflows-and-actions/
#: workflow-syntax#jobsjob_idstepsshell): without a shell named, and with `shell: bash`.
SHELLS = {
    None: ("bash", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail"),
}
#: Seconds in which a script that is ended removes its containers.
_TIDY_SECONDS = 180


@dataclass(frozen=True)
class Script:
    """One script, where it runs, and for how many seconds at most; ``log`` gets its output."""

    text: str
    shell: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    seconds: float


def run_script(script: Script) -> int:
    """Run a script and return its exit code; 124 where it took too long.

    It gets a session of its own, which is ended as a whole.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file, script.log.open("ab") as log:
        file.write(script.text)
        file.flush()
        process = subprocess.Popen(
            [*script.shell, file.name],
            cwd=script.folder,
            env=dict(script.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(script.seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return 124
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what the script started: first so that it can tidy up."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_TIDY_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
