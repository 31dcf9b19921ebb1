"""ci.yml on this machine: its jobs in order, by their own `run:` lines, against local servers.

First a branch, as cheap as can be: plan, build, rehearse. Then a release from plan to publish, and
its publishing once more. Each job has a clean clone and a home of its own, and of other jobs only
what `needs` and the artifacts hand on.

What is replaced: the first origins are servers on loopback, and the scratch clone's fact files
name these; the models there are synthetic under the real names. `ghcr.io` in the lines and
variables is a registry on loopback, with a login. The clone calls local images by another name, so
that no image of this machine is moved, and has cpu for linux/amd64 only: an image of a platform
that cannot be judged here would not be published. What other jobs and rows there are is listed as
not run. What only GitHub can do is in docs/publish/ci.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import noxfile
from tests.support.first_origins import FirstOrigins
from tests.support.git_server import git
from tests.support.registry import PASSWORD, USER, LocalRegistry, local_registry, registry_program
from tests.support.rehearsal import (
    PROJECT,
    environment,
    failures,
    prepare,
    published,
    remove_images,
    report,
    without_only_real,
)
from tests.support.requirements import need
from tests.support.scratch import Scratch, scratch_clone
from tests.support.workflow.run import SKIPPED, SUCCESS, Event, Run, Surroundings
from tools.engine.docker import engine_platform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("online"),
    pytest.mark.timeout(4 * 3600),
]

WORKFLOW = yaml.safe_load((noxfile.WORKFLOWS / "ci.yml").read_text())
PLATFORM = "linux/amd64"
OLDEST_PYTHON = "3.11"
VERSION = "0.0.1"
#: With a capital, as an owner's name on GitHub may have one and a registry's may not.
OWNER = "Somebody"
REPOSITORY = "somebody/jina-embeddings-v5"

#: What a branch does before its release, and a release does not do again.
OF_THE_BRANCH = ("plan", "build", "rehearse")
REAL_WEIGHTS = ("verify", "Real weights, what its model card says")

LeftOut = Callable[[str, Mapping[str, str]], str]


def not_here(job: str, row: Mapping[str, str]) -> str:
    """Why a job, or a row of its matrix, cannot be run on this machine."""
    if job == "elasticsearch":
        return "Elastic's images are not here"
    if job == "origins":
        return "two of the sources are on GitHub only; tests/origins has the others built here"
    if row.get("python", OLDEST_PYTHON) != OLDEST_PYTHON:
        return "one Python is here, and stands for the oldest"
    if row.get("image", "cpu") != "cpu":
        return "neither NVIDIA's images nor a GPU are here"
    return ""


def not_in_the_branch(job: str, row: Mapping[str, str]) -> str:
    return not_here(job, row) if job in OF_THE_BRANCH else "the release's pass runs it"


@dataclass(frozen=True)
class Stage:
    """Everything around the runs."""

    folder: Path
    scratch: Scratch
    origins: FirstOrigins
    ghcr: LocalRegistry
    runner: Mapping[str, str]

    def run(self, ref: str, left_out: LeftOut) -> Run:
        around = Surroundings(
            repository=self.scratch.folder,
            environment=self.runner,
            refs=dict.fromkeys(("check", "chart"), f"refs/heads/{PROJECT}"),
            hosts={"ghcr.io": self.ghcr.host},
            variables={REAL_WEIGHTS: without_only_real()},
            left_out=left_out,
            tidy_up=lambda: remove_images(self.scratch, self.origins.facts.base.pinned),
        )
        event = Event(ref=ref, owner=OWNER, actor=USER, token=PASSWORD)
        return Run(WORKFLOW, event, around, self.folder / ref.rpartition("/")[2])


@pytest.fixture
def stage(origins: FirstOrigins, pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Stage]:
    need(pytestconfig, "root", available=os.geteuid() == 0, why="jobs run `sudo apt-get update`")
    here = engine_platform()
    need(pytestconfig, "amd64", available=here == PLATFORM, why=f"the engine is {here}")
    with (
        local_registry(registry_program(), tmp_path / "ghcr", login=True) as ghcr,
        scratch_clone(tmp_path, origins.facts, origins.hub.url) as scratch,
    ):
        prepare(scratch)
        yield Stage(tmp_path, scratch, origins, ghcr, environment(tmp_path, origins.hub.url))


def results(run: Run) -> dict[str, str]:
    return {name: job.result for name, job in run.jobs.items()}


def run_all(run: Run) -> None:
    """Run every job, saying how each went."""
    print(f"\n{run.event.ref}:")
    for name in WORKFLOW["jobs"]:
        report(run.job(name))


def test_a_branch_is_rehearsed_and_a_release_is_published_once(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        branch = stage.run("refs/heads/main", not_in_the_branch)
        run_all(branch)
        expected = dict.fromkeys(WORKFLOW["jobs"], SUCCESS)
        expected |= {"gpu": SKIPPED, "publish": SKIPPED}
        assert results(branch) == expected, failures(branch.jobs)

        git(stage.scratch.folder, "tag", f"v{VERSION}")
        release = stage.run(f"refs/tags/v{VERSION}", not_here)
        run_all(release)
        expected |= {"rehearse": SKIPPED, "publish": SUCCESS}
        assert results(release) == expected, failures(release.jobs)
        names = published(stage.ghcr, REPOSITORY)
        digest = names["cpu"]
        commit = stage.scratch.commit
        named = {"cpu", "0.0-cpu", f"{VERSION}-cpu", f"sha-{commit}-cpu"}
        assert {tag for tag, meant in names.items() if meant == digest} == named
        (candidate,) = names.keys() - named
        assert candidate.startswith("candidate-")
        repository = f"{stage.ghcr.host}/{REPOSITORY}"
        subject = {"subject-name": repository, "subject-digest": digest}
        assert release.signed == [subject]

        print("once more:")
        again = release.job("publish")
        report(again)
        assert again.result == SUCCESS, failures(release.jobs)
        (part,) = [part for part in again.parts if part.log is not None]
        assert part.log is not None
        assert "cpu is published already" in part.log.read_text()
        assert published(stage.ghcr, REPOSITORY) == names
        assert release.signed == [subject, subject]
