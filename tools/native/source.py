"""llama.cpp's source for a native build: carried in an archive, patched, laid out."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.common.cache import cache_dir, locked
from tools.common.console import say
from tools.common.errors import SourceFault, ToolError
from tools.common.processes import run_bounded
from tools.facts.images import Images, SourceOrigin
from tools.images.recipe import PATCHES, patch_names
from tools.origins.choose import Resolved
from tools.origins.trees import unpack

PATCH_FLAGS = ("--strip=1", "--batch", "--forward", "--fuzz=0", "--ignore-whitespace")


#: The top folder of an archive is this and the origin's name.
_ARCHIVE_TOP = "llama.cpp-"


def patches_hash() -> str:
    """Return a hash of the bytes of all patches."""
    digest = hashlib.sha256()
    for file in sorted(path for path in PATCHES.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(PATCHES)).encode() + file.read_bytes())
    return digest.hexdigest()


def write_archive(source: Resolved[SourceOrigin, Path], path: Path) -> None:
    """Write the source tree to ``path`` (.tar.gz), to be carried to a machine without a network.

    The tree already lacks what building the server does not read (tools/origins/trees.py). Raises
    ToolError where it cannot be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        try:
            with tarfile.open(partial, "w:gz") as archive:
                archive.add(source.value, f"{_ARCHIVE_TOP}{source.origin.name}", filter=_anonymous)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ToolError(f"cannot write {path}: {error}") from None
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, llama.cpp from origin {source.origin.name}")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who packed it, so that the same source gives the same members."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def carried_source(images: Images, path: Path) -> Resolved[SourceOrigin, Path]:
    """Return the source in an archive of ours, or in the folder that one was unpacked to.

    Which origin it is from stands in the name of its top folder. Raises ToolError for anything
    else.
    """
    if path.is_dir():
        return Resolved(_origin_of(images, path.resolve().name, path), path.resolve())
    try:
        with tarfile.open(path, "r:gz") as archive:
            top = (archive.next() or tarfile.TarInfo()).name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, tarfile.TarError) as error:
        raise ToolError(f"{path} is no source archive: {error}") from None
    origin = _origin_of(images, top, path)
    tree = cache_dir() / "sources" / f"carried-{digest[:16]}"
    with locked(tree):
        if not tree.exists():
            with path.open("rb") as content:
                unpack(content, top, tree)
    return Resolved(origin, tree)


def _origin_of(images: Images, top: str, path: Path) -> SourceOrigin:
    for origin in images.llama_cpp:
        if top == f"{_ARCHIVE_TOP}{origin.name}":
            return origin
    known = ", ".join(f"{_ARCHIVE_TOP}{origin.name}" for origin in images.llama_cpp)
    raise ToolError(
        f"{path}: {top or 'nothing'!r} is not the top folder of an archive that "
        f"`nox -s native -- archive` writes ({known})"
    )


def apply_patches(patch: str, tree: Path, names: Sequence[str]) -> None:
    """Apply our patches to a copy of the source, as images/Dockerfile does.

    Raises SourceFault naming the one that does not apply.
    """
    for name in names:
        result = run_bounded(
            [patch, *PATCH_FLAGS, f"--input={PATCHES / name}.patch"], timeout=60, folder=tree
        )
        if result.code != 0:
            raise SourceFault(
                f"images/patches/{name}.patch does not apply to this llama.cpp:\n"
                f"{(result.stdout + result.stderr).strip()}"
            )
    shutil.copytree(PATCHES / "files", tree, dirs_exist_ok=True)


def lay_source(tree: Path, destination: Path, patch: str) -> None:
    """Put a patched copy of ``tree`` at ``destination``."""
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".laying-") as name:
        copy = Path(name) / "source"
        shutil.copytree(tree, copy, symlinks=True, copy_function=shutil.copy)
        apply_patches(patch, copy, patch_names())
        if destination.exists():
            _keep_times(destination, copy)
            shutil.rmtree(destination)
        copy.rename(destination)


def _keep_times(old: Path, new: Path) -> None:
    """Give files that are as they were their old times, so that only the others are compiled."""
    for file in new.rglob("*"):
        before = old / file.relative_to(new)
        if file.is_file() and before.is_file() and filecmp.cmp(before, file, shallow=False):
            times = before.stat()
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def source_fingerprint(tree: Path) -> str:
    """Return a hash of what the source is made of: which tree, and the patches' bytes."""
    return hashlib.sha256(f"{tree}\n{patches_hash()}".encode()).hexdigest()
