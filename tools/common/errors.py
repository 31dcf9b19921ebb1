"""The one error that a person is meant to read, and how a verb ends when it meets it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType


class ToolError(Exception):
    """An expected failure: its text says what happened and what to do next."""


class SourceFault(ToolError):  # noqa: N818 - named for what happened, as a person reads it
    """A llama.cpp that does not build: a patch, the compiler or the linker says so."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which timeout, systemd and CI end what they run: tidied up after like Ctrl-C."""


def raise_on_sigterm() -> None:
    """Let SIGTERM raise Terminated in the main thread, from which this must be called."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def run_verb(main: Callable[[Sequence[str]], None]) -> int:
    """Run a verb's ``main`` on the command line and return its exit code.

    0 is success, 1 an expected failure (printed without a stack trace), 130 Ctrl-C, 143 SIGTERM.
    A wrong command line exits with argparse's own 2.
    """
    raise_on_sigterm()
    try:
        main(sys.argv[1:])
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except Terminated:
        print("terminated", file=sys.stderr, flush=True)
        return 143
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130
    return 0
