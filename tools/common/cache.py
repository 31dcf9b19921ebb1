"""The one folder where downloads, fetched sources and locks are kept between runs.

``JINA_CACHE_DIR`` where it is set, else ``$XDG_CACHE_HOME/jina-embeddings-v5``, else
``~/.cache/jina-embeddings-v5``. All of it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tools.common.console import say

_NAME = "jina-embeddings-v5"


def cache_dir() -> Path:
    """Return the cache folder as an absolute path; it need not exist yet."""
    if chosen := os.environ.get("JINA_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / _NAME
    return Path.home() / ".cache" / _NAME


@contextmanager
def locked(subject: Path | str) -> Iterator[None]:
    """Hold the lock on ``subject`` (what is being made), so that no two processes make it.

    Waits, saying so, while another process holds it; a lock whose process died is free. The lock
    file lies in the cache folder, not beside the subject.
    """
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{hashlib.sha256(str(subject).encode()).hexdigest()[:16]}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process that is working on {subject}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
