"""Take llama.cpp's source tree out of a tar archive, whole or not at all."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from tools.common.errors import ToolError

#: Top-level folders that building llama-server does not read, at any age that we pin: test
#: vocabularies (up to 75 MB), documentation (38 MB), benchmark results and pictures. No
#: CMakeLists.txt or source outside examples and tests refers to them.
SKIPPED = ("benches", "docs", "media", "models")
#: Two of those vocabularies (14 MB) stay: the ones that nano's and small's tokenizers come from,
#: Llama 3's and Qwen2's, by which tests/runtime/test_tokens.py judges the server.
KEPT = tuple(PurePosixPath(f"models/ggml-vocab-{name}.gguf") for name in ("llama-bpe", "qwen2"))


def unpack(archive: IO[bytes], prefix: str, destination: Path) -> Path:
    """Unpack the folder ``prefix`` of a tar archive to ``destination``, of SKIPPED only KEPT.

    Only files and links that stay inside are taken (tarfile's own filters are missing from
    Debian 12's Python). ``destination`` appears only when it is complete. Raises ToolError for an
    archive that is damaged, lacks the folder, or holds anything else.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".unpacking-") as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        try:
            with tarfile.open(fileobj=archive, mode="r|*") as members:
                for member in members:
                    _unpack_member(members, member, prefix, tree)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ToolError(f"cannot unpack llama.cpp's source: {error}") from None
        if not (tree / "CMakeLists.txt").is_file():
            raise ToolError(f"the archive has no llama.cpp source in {prefix or 'its top'!r}")
        return tree.rename(destination)


def _unpack_member(
    members: tarfile.TarFile, member: tarfile.TarInfo, prefix: str, tree: Path
) -> None:
    path = PurePosixPath(member.name)
    if not path.is_relative_to(prefix) or member.isdir():
        return
    relative = path.relative_to(prefix)
    if relative.parts[0] in SKIPPED and relative not in KEPT:
        return
    target = tree / relative
    inside = ".." not in relative.parts
    if member.issym():
        linked = (target.parent / member.linkname).resolve()
        inside = inside and linked.is_relative_to(tree.resolve())
    if not inside or not (member.isfile() or member.issym()):
        raise ToolError(f"the archive holds {member.name}, which is no file inside it")
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
        return
    content = members.extractfile(member)
    assert content is not None  # noqa: S101 - tarfile's promise for a regular file
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)
