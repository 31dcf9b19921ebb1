"""Run a command with a time limit that also ends the processes it started itself."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str


def run_bounded(
    command: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Result:
    """Run ``command`` and return its result, exit code unchecked; ``timeout`` is in seconds.

    The command gets a process group of its own, which is ended as a whole on a timeout or
    Ctrl-C: git, for one, works through child processes that would otherwise live on. Raises
    subprocess.TimeoutExpired, or FileNotFoundError when there is no such command.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        raise
    return Result(process.returncode, stdout, stderr)


def run_streamed(command: Sequence[str], each_line: Callable[[str], None]) -> int:
    """Run ``command``, give ``each_line`` every line that it prints, and return its exit code.

    Its stdout and stderr come together, each line with its line break. Like run_bounded it has a
    process group of its own, which is ended as a whole when ``each_line`` raises, or on Ctrl-C:
    the end of cmake, for one, is not that of its ninja.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - what PIPE promises
        try:
            for line in process.stdout:
                each_line(line)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    return process.returncode


def tail(log: str, lines: int = 25) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.splitlines()[-lines:])


def describe_end(code: int) -> str:
    """Return how a process ended, from subprocess's return code."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
