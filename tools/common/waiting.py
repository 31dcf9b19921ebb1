"""Wait for something, with a limit against waiting for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(look: Callable[[], Found | None], seconds: float, pause: float = 0.2) -> Found | None:
    """Return the first answer of ``look`` that is not None, or None after ``seconds``.

    ``look`` is called at least once, and every ``pause`` seconds. What it raises ends the wait.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None or time.monotonic() > deadline:
            return found
        time.sleep(pause)
