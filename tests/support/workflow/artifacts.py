"""What the jobs of a run hand on to each other: folders in the place of GitHub's storage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.support.workflow.errors import StepFailedError


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of one run, a folder each."""

    folder: Path

    def upload(self, name: str, path: Path, *, if_no_files_found: str) -> None:
        """Keep a file, or what is in a folder, as the artifact ``name``."""
        files = _files(path)
        if not files:
            if if_no_files_found == "error":
                raise StepFailedError(f"there are no files at {path}")
            return
        kept = self.folder / name
        if kept.exists():
            raise StepFailedError(f"the run has an artifact {name} already")
        root = path if path.is_dir() else path.parent
        for file in files:
            _copy(file, kept / file.relative_to(root))

    def download(self, name: str, path: Path) -> None:
        """Put the files of the artifact ``name`` into the folder ``path``."""
        kept = self.folder / name
        if not kept.is_dir():
            raise StepFailedError(f"the run has no artifact {name}")
        for file in _files(kept):
            _copy(file, path / file.relative_to(kept))

    def download_matching(self, pattern: str, path: Path, *, merge: bool) -> None:
        """Put every artifact whose name matches into ``path``, each into a folder unless merged."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for kept in sorted(self.folder.iterdir()):
            if fnmatchcase(kept.name, pattern):
                self.download(kept.name, path if merge else path / kept.name)


def _files(path: Path) -> list[Path]:
    """The file, or the files in the folder; the action leaves out what is hidden."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file())
    return [
        file
        for file in found
        if not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
