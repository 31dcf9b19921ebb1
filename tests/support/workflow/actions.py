"""The actions that our workflows use, and what stands for each of them on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.workflow.artifacts import Artifacts
from tests.support.workflow.errors import NotKnownError, StepFailedError


@dataclass
class Workplace:
    """What a job has while it runs: folders, an environment, and what other jobs handed on."""

    folder: Path
    repository: Path
    ref: str
    environment: dict[str, str]
    artifacts: Artifacts
    signed: list[dict[str, str]]

    @property
    def checkout(self) -> Path:
        """The folder in which steps run."""
        return self.folder / "checkout"

    @property
    def temporary(self) -> Path:
        """RUNNER_TEMP."""
        return self.folder / "temporary"


Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Action:
    """What stands for an action, the settings that it may have, and what only GitHub can do."""

    do: Callable[[Workplace, Settings], None]
    settings: frozenset[str]
    only_github: str


def _checkout(place: Workplace, settings: Settings) -> None:
    """Fetch what actions/checkout fetches: its ref-helper.ts and git-source-provider.ts."""
    branch = place.ref.removeprefix("refs/heads/")
    local = place.ref if branch == place.ref else f"refs/remotes/origin/{branch}"
    what = ["--no-tags", "--depth=1", "origin", f"+{place.ref}:{local}"]
    if settings.get("fetch-depth") == 0:
        what = ["origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    _run(place, "git", "init", "--quiet", ".")
    # By its address: from a path git would take all of the repository, whatever the depth.
    _run(place, "git", "remote", "add", "origin", place.repository.as_uri())
    _run(place, "git", "fetch", "--quiet", *what)
    _run(place, "git", "checkout", "--quiet", "--detach", local)


def _setup_python(place: Workplace, settings: Settings) -> None:
    """Put a bare `python` on PATH: an environment of its own, with pip and nothing else."""
    python = place.folder / "python"
    _run(place, sys.executable, "-m", "virtualenv", "--quiet", str(python))
    place.environment["PATH"] = f"{python / 'bin'}:{place.environment['PATH']}"


def _upload(place: Workplace, settings: Settings) -> None:
    place.artifacts.upload(
        settings["name"],
        place.checkout / settings["path"],
        if_no_files_found=settings.get("if-no-files-found", "warn"),
    )


def _download(place: Workplace, settings: Settings) -> None:
    path = place.checkout / settings["path"]
    if "pattern" in settings:
        merge = bool(settings.get("merge-multiple"))
        place.artifacts.download_matching(settings["pattern"], path, merge=merge)
    else:
        place.artifacts.download(settings["name"], path)


def _keep_nothing(place: Workplace, settings: Settings) -> None:
    """There is no cache."""


def _record(place: Workplace, settings: Settings) -> None:
    subject = {key: str(settings[key]) for key in ("subject-name", "subject-digest")}
    if not all(subject.values()):
        raise StepFailedError(f"there is nothing to sign: {subject}")
    place.signed.append(subject)


def _run(place: Workplace, *command: str) -> None:
    """Run a command in the checkout; raises StepFailedError with its words when it fails."""
    place.checkout.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        command,
        cwd=place.checkout,
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise StepFailedError(f"{' '.join(command)}: {ran.stderr.strip()}")


#: All of them. Another one, or another setting of one of these, is refused.
ACTIONS = {
    "actions/checkout": Action(
        _checkout,
        frozenset({"persist-credentials", "fetch-depth"}),
        "git does here what the action does",
    ),
    "actions/setup-python": Action(
        _setup_python,
        frozenset({"python-version", "cache", "cache-dependency-path"}),
        "Python 3.11 itself, and pip's cache: each job has a new environment of the Python that "
        "runs the rehearsal",
    ),
    "actions/upload-artifact": Action(
        _upload,
        frozenset({"name", "path", "if-no-files-found", "retention-days"}),
        "GitHub's storage, and how long it keeps what: a folder stands for it",
    ),
    "actions/download-artifact": Action(
        _download, frozenset({"name", "pattern", "path", "merge-multiple"}), ""
    ),
    "actions/cache": Action(
        _keep_nothing,
        frozenset({"path", "key"}),
        "the real weights between runs: every job downloads them anew",
    ),
    "actions/attest-build-provenance": Action(
        _record,
        frozenset({"subject-name", "subject-digest", "push-to-registry"}),
        "the signature: only what would be signed is noted, and that it is what was published",
    ),
}


def known_action(uses: str) -> Action:
    """Return what stands for ``uses``, with or without its version."""
    name = uses.partition("@")[0]
    if name not in ACTIONS:
        raise NotKnownError(f"the action {uses} is not known to the rehearsal")
    return ACTIONS[name]


def check_settings(uses: str, settings: Settings) -> None:
    """Raise NotKnownError for a setting of a known action that nothing here reads."""
    for key in settings:
        if key not in known_action(uses).settings:
            raise NotKnownError(f"{uses}: the setting {key!r} is not known to the rehearsal")
    if "\n" in str(settings.get("path", "")).strip():
        raise NotKnownError(f"{uses}: several paths are not known to the rehearsal")
