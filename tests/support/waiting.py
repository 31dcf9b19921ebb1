"""Waiting for what must come, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which something that takes moments will not come any more.
HANG_SECONDS = 60.0


def wait_until(true: Callable[[], bool], what: str, seconds: float = HANG_SECONDS) -> None:
    """Return as soon as ``true()``; AssertionError with ``what`` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} seconds: {what}"
        time.sleep(0.02)
