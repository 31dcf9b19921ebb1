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
from tools.common.errors import ToolError
from tools.common.files import expanded

_NAME = "jina-embeddings-v5"


def cache_dir() -> Path:
    """Return the cache folder as an absolute path; it need not exist yet.

    Raises ToolError where it depends on a home folder that is not known.
    """
    if chosen := os.environ.get("JINA_CACHE_DIR"):
        return expanded(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / _NAME
    try:
        return Path.home() / ".cache" / _NAME
    except RuntimeError:
        raise ToolError(
            "the home folder is not known, so neither is the cache folder; set JINA_CACHE_DIR"
        ) from None


@contextmanager
def locked(subject: Path | str) -> Iterator[None]:
    """Hold the lock on ``subject`` (what is being made), so that no two processes make it.

    Waits, saying so, while another process holds it; a lock whose process died is free. The lock
    file lies in the cache folder, not beside the subject. Raises ToolError where that cannot be
    written to.
    """
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{hashlib.sha256(str(subject).encode()).hexdigest()[:16]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process that is working on {subject}")
            lock.acquire()
    except OSError as error:
        raise ToolError(
            f"cannot write to the cache folder {cache_dir()} ({error.strerror or error}); set "
            "JINA_CACHE_DIR to a folder that you may write to"
        ) from None
    try:
        yield
    finally:
        lock.release()
