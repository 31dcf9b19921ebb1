"""Folders and files as other users and other machines have them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.common.errors import ToolError


@contextmanager
def temporary_folder(prefix: str = "jina-") -> Iterator[Path]:
    """Yield a folder that is gone afterwards; raises ToolError where none can be made."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise ToolError(
            f"cannot make a temporary folder ({error.strerror or error}); set TMPDIR to a folder "
            "that you may write to"
        ) from None
    with folder as name:
        yield Path(name)


def expanded(text: str) -> Path:
    """Return an absolute path in which ``~`` stands for the home folder.

    Raises ToolError where that is not known.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ToolError(
            f"{text}: the home folder is not known; set HOME, or name a folder without ~"
        ) from None


def let_the_server_read(file: Path) -> None:
    """Let other users read ``file`` and enter its folder, as the server in a container must.

    With umask 077 what is written here is its owner's alone, and the server is user 65532. Raises
    ToolError, with the command, where we may not change that.
    """
    for path, bits in ((file.parent, 0o011), (file, 0o044)):
        mode = path.stat().st_mode
        if mode & bits != bits:
            try:
                path.chmod(mode | bits)
            except OSError:
                raise ToolError(
                    f"the server, user 65532 in its container, may not read {path}; as its owner: "
                    f"chmod a+rX {path}"
                ) from None
