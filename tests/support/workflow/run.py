"""One run of a workflow: its jobs in their order, each in a workplace of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.workflow.actions import Workplace, known_action
from tests.support.workflow.artifacts import Artifacts
from tests.support.workflow.errors import NotKnownError, StepFailedError
from tests.support.workflow.expressions import Scope, fill, holds, starts_with
from tests.support.workflow.known import check_own_action, check_workflow, is_own
from tests.support.workflow.process import SHELLS, Script, run_script

SUCCESS, FAILURE, SKIPPED, NOT_RUN = "success", "failure", "skipped", "not run here"


@dataclass(frozen=True)
class Event:
    """What started the run, as the context `github` and the runner's variables say it."""

    ref: str
    owner: str
    actor: str
    token: str
    name: str = "push"

    @property
    def ref_type(self) -> str:
        return "tag" if self.ref.startswith("refs/tags/") else "branch"


@dataclass(frozen=True)
class Surroundings:
    """What stands for GitHub around a run.

    ``repository`` is checked out from, ``refs`` names for a job another ref than the event's.
    ``hosts`` are replaced in run lines and variables. ``left_out`` says why a job, with a row of
    its matrix, is not run here, or nothing; ``tidy_up`` comes after each job and leaves the
    machine as a fresh runner is. ``variables`` are for single steps, by job and step name.
    """

    repository: Path
    environment: Mapping[str, str]
    refs: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    left_out: Callable[[str, Mapping[str, str]], str] = lambda _job, _row: ""
    tidy_up: Callable[[], None] = lambda: None
    shell: Callable[[Script], int] = run_script


@dataclass(frozen=True)
class Part:
    """How one job went, or one row of its matrix; ``log`` is what its steps printed."""

    name: str
    result: str
    seconds: float = 0.0
    why: str = ""
    log: Path | None = None


@dataclass
class Job:
    """How a job went as a whole."""

    result: str
    outputs: Mapping[str, str]
    parts: list[Part]


class Run:
    """One run, in a folder of its own."""

    def __init__(
        self, workflow: Mapping[Any, Any], event: Event, around: Surroundings, folder: Path
    ) -> None:
        check_workflow(workflow)
        self.workflow = workflow
        self.event = event
        self.around = around
        self.folder = folder
        self.artifacts = Artifacts(folder / "artifacts")
        self.jobs: dict[str, Job] = {}
        self.signed: list[dict[str, str]] = []

    def all(self) -> None:
        """Run every job, in the order of the file, which needs must respect."""
        for name in self.workflow["jobs"]:
            self.job(name)

    def job(self, name: str) -> Job:
        """Run one job, all rows of its matrix; once more where it has run already."""
        definition = self.workflow["jobs"][name]
        needed = definition.get("needs", [])
        needs = {
            each: self.jobs[each] for each in ([needed] if isinstance(needed, str) else needed)
        }
        results = {need.result for need in needs.values()}
        functions = _functions(went_well=results <= {SUCCESS}, failed=FAILURE in results)
        contexts = self._contexts(needs)
        scope = Scope(contexts, functions)
        if not holds(definition.get("if", "success()"), scope):
            self.jobs[name] = Job(SKIPPED, {}, [Part(name, SKIPPED)])
            return self.jobs[name]
        parts: list[Part] = []
        outputs: dict[str, str] = {}
        for row in _rows(definition, scope):
            with_row = {**contexts, **({"matrix": row} if row else {})}
            title = str(fill(definition["name"], Scope(with_row, functions)))
            if why := self.around.left_out(name, row):
                parts.append(Part(title, NOT_RUN, why=why))
                continue
            part, outputs = self._row(name, title, definition, with_row)
            parts.append(part)
        # A job that is not run here is taken to have passed, so that what needs it is run.
        failed = any(part.result == FAILURE for part in parts)
        self.jobs[name] = Job(FAILURE if failed else SUCCESS, outputs, parts)
        return self.jobs[name]

    def _contexts(self, needs: Mapping[str, Job]) -> dict[str, Any]:
        """What every expression of a job can name."""
        return {
            "github": {
                "ref": self.event.ref,
                "ref_type": self.event.ref_type,
                "event_name": self.event.name,
                "repository_owner": self.event.owner,
                "token": self.event.token,
            },
            "vars": _NothingSet(),
            "needs": {
                each: {"result": need.result, "outputs": need.outputs}
                for each, need in needs.items()
            },
        }

    def _row(
        self, name: str, title: str, definition: Mapping[str, Any], contexts: Mapping[str, Any]
    ) -> tuple[Part, dict[str, str]]:
        """Run the steps of a job in a workplace of its own, of which only the log stays."""
        here = self.folder / f"{name}-{len(list(self.folder.glob(f'{name}-*.log')))}"
        place = Workplace(
            folder=here,
            repository=self.around.repository,
            ref=self.around.refs.get(name, self.event.ref),
            environment=dict(self.around.environment),
            artifacts=self.artifacts,
            signed=self.signed,
        )
        place.temporary.mkdir(parents=True)
        (here / "home").mkdir()
        place.environment |= {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": self.event.actor,
            "HOME": str(here / "home"),
            "RUNNER_TEMP": str(place.temporary),
        }
        started = time.monotonic()
        steps = _Steps(self, name, definition, place, contexts)
        outputs = {}
        try:
            steps.run(started + 60 * definition["timeout-minutes"])
            if not steps.failure:
                outputs = {
                    key: str(fill(text, steps.scope()))
                    for key, text in definition.get("outputs", {}).items()
                }
        finally:
            self.around.tidy_up()
            shutil.rmtree(here)
        result = FAILURE if steps.failure else SUCCESS
        seconds = time.monotonic() - started
        return Part(title, result, seconds, steps.failure, steps.log), outputs


class _Steps:
    """The steps of one job, one after the other."""

    def __init__(
        self,
        run: Run,
        job: str,
        definition: Mapping[str, Any],
        place: Workplace,
        contexts: Mapping[str, Any],
    ) -> None:
        self.around = run.around
        self.job = job
        self.workflow = run.workflow
        self.definition = definition
        self.place = place
        self.contexts = contexts
        self.outputs: dict[str, Any] = {}
        self.failure = ""
        self.log = place.folder.with_suffix(".log")

    def scope(self) -> Scope:
        """What a step's expressions can name now."""
        contexts = {
            **self.contexts,
            "runner": {"temp": str(self.place.temporary)},
            "steps": self.outputs,
        }
        functions = _functions(went_well=not self.failure, failed=bool(self.failure))
        return Scope(contexts, {**functions, "hashFiles": self.hash_files})

    def hash_files(self, pattern: str) -> str:
        """``hashFiles``: the hash of the hashes of the files that match."""
        files = sorted(self.place.checkout.glob(pattern))
        hashes = [hashlib.sha256(file.read_bytes()).digest() for file in files]
        return hashlib.sha256(b"".join(hashes)).hexdigest() if hashes else ""

    def run(self, deadline: float) -> None:
        """Run every step whose condition holds; ``deadline`` is a time of the monotonic clock."""
        for step in self.definition["steps"]:
            title = step["name"]
            if not holds(step.get("if", "success()"), self.scope()):
                self._note(f"--- {title}: skipped")
                continue
            self._note(f"--- {title}")
            try:
                if "uses" in step:
                    self._action(step, deadline)
                else:
                    self._script(step, deadline)
            except StepFailedError as error:
                self._note(f"--- {title}: failed: {error}")
                # The first failure is the one that counts.
                self.failure = self.failure or f"{title}: {error}"

    def _action(self, step: Mapping[str, Any], deadline: float) -> None:
        """Do what stands for an action, or the steps of an action of our own."""
        settings = {
            key: fill(value, self.scope()) if isinstance(value, str) else value
            for key, value in step.get("with", {}).items()
        }
        if not is_own(step["uses"]):
            known_action(step["uses"]).do(self.place, settings)
            return
        file = self.place.checkout / step["uses"] / "action.yml"
        if not file.is_file():
            raise StepFailedError(f"{step['uses']} has no action.yml in the checkout")
        action = yaml.safe_load(file.read_text(encoding="utf-8"))
        check_own_action(step["uses"], action, settings)
        inputs = {
            name: settings.get(name, about.get("default", ""))
            for name, about in action.get("inputs", {}).items()
        }
        inner = copy(self)
        inner.definition = {**self.definition, "steps": action["runs"]["steps"]}
        inner.contexts = {**self.contexts, "inputs": inputs}
        inner.outputs = {}
        inner.run(deadline)
        if inner.failure:
            raise StepFailedError(inner.failure)

    def _script(self, step: Mapping[str, Any], deadline: float) -> None:
        """Run a step's lines; raises StepFailedError when they fail."""
        scope = self.scope()
        said = [self.workflow.get("env", {}), self.definition.get("env", {}), step.get("env", {})]
        variables = {key: str(fill(text, scope)) for each in said for key, text in each.items()}
        handed_on = self.place.folder / "output"
        handed_on.write_text("", encoding="utf-8")
        environment = {
            **self.place.environment,
            **{key: self._replaced(value) for key, value in variables.items()},
            **self.around.variables.get((self.job, step["name"]), {}),
            "GITHUB_OUTPUT": str(handed_on),
        }
        code = self.around.shell(
            Script(
                text=self._replaced(fill(step["run"], scope)),
                shell=SHELLS[step.get("shell")],
                environment=environment,
                folder=self.place.checkout,
                log=self.log,
                seconds=deadline - time.monotonic(),
            )
        )
        if code != 0:
            raise StepFailedError(f"exit code {code}")
        if "id" in step:
            self.outputs[step["id"]] = {"outputs": dict(_outputs(handed_on))}

    def _replaced(self, text: str) -> str:
        for host, stand_in in self.around.hosts.items():
            text = text.replace(host, stand_in)
        return text

    def _note(self, line: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{line}{os.linesep}")


class _NothingSet(dict[str, str]):
    """The context `vars` where nothing was set up: GitHub gives an empty string for any name."""

    def __missing__(self, key: str) -> str:
        return ""


def _functions(*, went_well: bool, failed: bool) -> dict[str, Callable[..., Any]]:
    """The functions that a workflow may call, after what went before."""
    return {
        "cancelled": lambda: False,
        "failure": lambda: failed,
        "fromJSON": json.loads,
        "startsWith": starts_with,
        "success": lambda: went_well,
    }


def _rows(definition: Mapping[str, Any], scope: Scope) -> list[dict[str, str]]:
    """Return the rows of a job's matrix; one without anything for a job without a matrix."""
    if "strategy" not in definition:
        return [{}]
    matrix = definition["strategy"]["matrix"]
    if isinstance(matrix, str):
        matrix = fill(matrix, scope)
    if set(matrix) != {"include"}:
        raise NotKnownError(f"a matrix with {sorted(matrix)}: only `include` is known")
    if not matrix["include"]:
        raise NotKnownError("a matrix without rows: GitHub ends such a job with a failure")
    return list(matrix["include"])


def _outputs(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if not equals or "<<" in name:
            raise NotKnownError(f"the output {line!r} is not of the form NAME=VALUE")
        yield name, value
