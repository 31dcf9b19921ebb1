"""The one error that a person is meant to read, and how a verb ends when it meets it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


class ToolError(Exception):
    """An expected failure: its text says what happened and what to do next."""


def run_verb(main: Callable[[Sequence[str]], None]) -> int:
    """Run a verb's ``main`` on the command line and return its exit code.

    0 is success, 1 an expected failure (printed without a stack trace), 130 Ctrl-C. A wrong
    command line exits with argparse's own 2.
    """
    try:
        main(sys.argv[1:])
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130
    return 0
