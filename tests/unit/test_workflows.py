"""The workflows call what exists, and say nothing that another file says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import nox
import nox.registry
import pytest
import yaml

import noxfile
from tests.unit.test_locks import PYTHONS
from tools.common.errors import ToolError
from tools.facts.images import load_images
from tools.facts.matrix import RUNNERS, build, elasticsearch, gpu, main, release, verify
from tools.facts.models import load_models
from tools.facts.paths import ROOT

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text()) for path in noxfile.WORKFLOWS.glob("*.yml")
}
#: The actions of our own, whose steps are the jobs' that use them.
ACTIONS = sorted(noxfile.WORKFLOWS.parent.glob("actions/*/action.yml"))
#: What a run line may call besides nox: the plan, which needs no environment; nox's own
#: installation; and what there is to do on GitHub and with git in the job that opens the pull
#: request.
ALSO_CALLED = {
    "python": {"-m tools.facts.matrix", "-m pip install --require-hashes -r locks/nox.txt"},
    "gh": {"auth setup-git", "pr create", "pr edit", "workflow run"},
    "git": {"diff --quiet", "config user", "switch --create", "commit --all", "push --force"},
    "mkdir": {"-p reports"},
    "tee": {"reports/"},
    "printf": {"```text", "%s $TOKEN"},
    "docker": {"login ghcr.io"},
    "sudo": {"apt-get update", "apt-get install --yes qemu-user-static"},
    "exit": {"0"},
}


@dataclass(frozen=True)
class Step:
    """One step of a workflow's job."""

    workflow: str
    job: str
    keys: dict[str, Any]


def steps() -> Iterator[Step]:
    for name, workflow in WORKFLOWS.items():
        for job, definition in workflow["jobs"].items():
            for step in definition["steps"]:
                yield Step(name, job, step)
    for path in ACTIONS:
        for step in yaml.safe_load(path.read_text())["runs"]["steps"]:
            yield Step("actions", path.parent.name, step)


def commands(script: str) -> Iterator[list[str]]:
    """Yield the commands of a run step as words; what is redirected is no word."""
    for line in script.splitlines():
        words = shlex.split(re.sub(r">>? *\S+$", "", line.strip()))
        command: list[str] = []
        for word in [*words, "&&"]:
            if word in ("&&", "||", "|"):
                yield command
                command = []
            else:
                command.append(word)


RUN_LINES = [(step, words) for step in steps() for words in commands(step.keys.get("run", ""))]
RUNS = [
    pytest.param(words, id=f"{step.workflow} {step.job}: {' '.join(words)[:60]}")
    for step, words in RUN_LINES
]


class Recorder:
    """A nox session that notes what it would run."""

    def __init__(self, posargs: list[str]) -> None:
        self.posargs = posargs
        self.calls: list[tuple[str, ...]] = []

    def run(self, *arguments: str, **_: object) -> None:
        self.calls.append(arguments)


#: Verbs whose first word has a command line of its own.
SUBCOMMANDS = {
    "native": ("build", "serve", "archive"),
    "archive": ("save", "load"),
    "search": ("elasticsearch", "postgresql"),
}


def known_to(verb: str, first: str) -> str:
    """Return the help for a command line of a verb that begins with the word ``first``.

    Where that names no command line of its own, the help of all of them.
    """
    own = SUBCOMMANDS.get(verb, ())
    meant = [first] if first in own else own
    return "\n".join([help_of(verb), *(help_of(verb, each) for each in meant)])


@cache
def help_of(verb: str, *subcommand: str) -> str:
    """Return the help of what a verb runs with the options after `--`."""
    recorder = Recorder([*subcommand, "--help"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noxfile, "python", lambda _: sys.executable)
        verbs()[verb].func(recorder)
    (call,) = (call for call in recorder.calls if "--help" in call)
    answer = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    return answer.stdout


@cache
def verbs() -> dict[str, Any]:
    """Return the sessions of noxfile.py by their names."""
    return dict(nox.registry.get())


@pytest.mark.parametrize("words", RUNS)
def test_every_run_line_calls_a_verb_that_exists(words: list[str]) -> None:
    called, *arguments = words
    if called != "nox":
        said = " ".join(arguments)
        assert any(said.startswith(known) for known in ALSO_CALLED.get(called, ())), words
        return
    options = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    named = arguments[: arguments.index("--")] if "--" in arguments else arguments
    assert named[0] == "-s"
    assert set(named[1:]) <= set(verbs())
    for option in (option for option in options if option.startswith("-")):
        (verb,) = named[1:]
        known = known_to(verb, options[0])
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known), option


def test_a_run_line_with_a_verb_or_an_option_that_is_missing_is_caught() -> None:
    for line in ("nox -s biuld", "nox -s build -- --orgin x", "docker build ."):
        with pytest.raises((AssertionError, ValueError)):
            test_every_run_line_calls_a_verb_that_exists(line.split())


def test_the_paths_that_the_run_lines_name_exist() -> None:
    named = {word for _, words in RUN_LINES for word in words if word.startswith("tests/")}
    assert named
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_actions_are_pinned_by_commit_with_their_version_each_the_same_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in [*noxfile.WORKFLOWS.glob("*.yml"), *ACTIONS]:
        for line in path.read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                match = re.fullmatch(r" +uses: ([\w/-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
                assert match, f"{path.name}: {line}"
                pins.setdefault(match[1], set()).add(match[2])
    assert pins
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


def test_an_action_of_our_own_is_used_after_the_checkout_that_brings_it() -> None:
    ours = {f"./{path.parent.relative_to(ROOT)}" for path in ACTIONS}
    used = set()
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            uses = [step.get("uses", "") for step in job["steps"]]
            own = [name for name in uses if name.startswith("./")]
            assert not own or uses[0].startswith("actions/checkout@")
            used |= set(own)
    assert used == ours


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_is_permitted_but_by_job_and_every_job_ends(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 240
        assert "permissions" in job


def test_only_jobs_that_no_pull_request_runs_may_write() -> None:
    for name, job in WORKFLOWS["ci.yml"]["jobs"].items():
        if "write" in job["permissions"].values():
            assert "refs/tags/v" in job["if"], name


def test_the_documentation_is_published_from_main_by_a_job_that_runs_nothing_of_ours() -> None:
    build, publish = WORKFLOWS["docs.yml"]["jobs"].values()
    assert "write" not in build["permissions"].values()
    assert publish["if"] == "github.ref == 'refs/heads/main'"
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == ["actions/deploy-pages"]


#: True for nothing but main and tags of versions.
REVIEWED = "(github.ref == 'refs/heads/main' || startsWith(github.ref, 'refs/tags/v'))"


def test_only_what_was_reviewed_runs_on_a_machine_of_ours() -> None:
    """No pull request, and no branch on which somebody starts a workflow by hand."""
    ours = [
        job
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        if "self-hosted" in job["runs-on"]
    ]
    assert ours
    for job in ours:
        conditions = job["if"].split(" && ")
        assert REVIEWED in conditions
        assert [each for each in conditions if "||" in each] == [REVIEWED]


def test_what_measures_the_gpu_has_it_for_itself() -> None:
    scripts = [step.keys.get("run", "") for step in steps() if step.job == "gpu"]
    (script,) = (script for script in scripts if "tests/runtime/test_gpu.py" in script)
    (words,) = commands(script)
    assert re.search(r"-- -n 0 .*--require gpu\b", " ".join(words))
    assert [word for word in words if word.startswith("tests/")] == ["tests/runtime/test_gpu.py"]
    assert [script for script in scripts if "tests/contract" in script]


def test_a_lost_label_of_cuda_fails_wherever_the_image_is_judged() -> None:
    assert {row["image"]: row["require"] for row in build(load_images())} == {
        "cpu": "docker",
        "cuda": "docker,cuda-image",
    }
    judging = [step for step in steps() if "tests/image" in step.keys.get("run", "")]
    assert {step.job for step in judging} == {"verify", "gpu"}
    for step in judging:
        assert step.keys["env"]["REQUIRE"] == "${{ matrix.require }}"
        assert re.search(r'--require "(gpu,)?\$REQUIRE"', step.keys["run"])


def test_what_is_signed_is_what_was_published() -> None:
    """The name too: the owner's may have capitals, which no registry takes."""
    (sign,) = (step for step in steps() if "attest-build" in step.keys.get("uses", ""))
    assert sign.keys["with"]["subject-name"] == "${{ steps.publish.outputs.repository }}"
    assert sign.keys["with"]["subject-digest"] == "${{ steps.publish.outputs.digest }}"
    (published,) = (step for step in steps() if step.keys.get("id") == "publish")
    assert '--outputs-to "$GITHUB_OUTPUT"' in published.keys["run"]


def test_publishing_waits_for_every_judge_and_for_its_own_kind() -> None:
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    publish = jobs["publish"]
    assert set(publish["needs"]) == set(jobs) - {"publish", "rehearse"}
    for judge in set(publish["needs"]) - {"plan", "build", "gpu"}:
        assert f"needs.{judge}.result == 'success'" in publish["if"].split(" && ")
    assert publish["concurrency"] == {
        "group": "publish-${{ matrix.image }}",
        "cancel-in-progress": False,
        "queue": "max",
    }


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_artifact_that_is_taken_was_handed_on_before(workflow: str) -> None:
    given: dict[str, str] = {}
    for step in (step for step in steps() if step.workflow == workflow):
        settings = step.keys.get("with", {})
        if "upload-artifact" in step.keys.get("uses", ""):
            # What a matrix names, it names so for every row of the build.
            named = [row["artifact"] for row in build(load_images())]
            is_row = settings["name"] == "${{ matrix.artifact }}"
            given |= dict.fromkeys([settings["name"], *(named if is_row else [])], step.job)
    for step in (step for step in steps() if step.workflow == workflow):
        if "download-artifact" in step.keys.get("uses", ""):
            taken = step.keys["with"]
            if "pattern" in taken:
                assert taken["pattern"] == "image-${{ matrix.image }}-*"
            giver = given[taken.get("name", "${{ matrix.artifact }}")]
            assert giver in WORKFLOWS[workflow]["jobs"][step.job]["needs"]


# ------------------------------------------------------------------ the matrix


def test_the_matrix_has_every_image_platform_and_model_once() -> None:
    images, models = load_images(), load_models()
    built = [(row["image"], row["platform"]) for row in build(images)]
    assert built == [
        (image.name, platform) for image in images.images.values() for platform in image.platforms
    ]
    verified = [(row["image"], row["platform"], row["model"]) for row in verify(images, models)]
    assert verified == [(*row, model) for row in built for model in models.models]
    assert len({row["artifact"] for row in build(images)}) == len(built)
    assert [row["image"] for row in gpu(images)] == ["cuda"]
    usual = [(row["artifact"], row["model"]) for row in elasticsearch(images, models)]
    assert usual == [("image-cpu-linux-amd64", model) for model in models.models]
    assert release(images, with_gpu=True) == [{"image": name} for name in images.images]
    assert release(images, with_gpu=False) == [{"image": "cpu"}]
    assert all(row["runner"] == RUNNERS[row["platform"]] for row in verify(images, models))


def test_a_platform_without_a_runner_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tools.facts.matrix.RUNNERS", {})
    with pytest.raises(ToolError, match=r"images\.cpu\.platforms: no runner .* linux/amd64"):
        build(load_images())


def test_the_plan_is_what_the_workflow_reads(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    printed = [line.partition("=")[0] for line in capsys.readouterr().out.splitlines()]
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    assert printed == [*jobs["plan"]["outputs"]]
    read = {
        key
        for job in jobs.values()
        for key in re.findall(r"needs\.plan\.outputs\.(\w+)", str(job.get("strategy")))
    }
    assert read == set(printed)


def test_the_plan_needs_nothing_but_python() -> None:
    """The plan job installs nothing."""
    command = [sys.executable, "-S", "-m", "tools.facts.matrix", "build"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert '"platform": "linux/amd64"' in answer.stdout


def test_the_workflow_uses_only_what_the_matrix_rows_have() -> None:
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    derived = {name: job for name, job in jobs.items() if name != "check"}
    (row, *_) = verify(load_images(), load_models())
    assert set(re.findall(r"\{ matrix\.(\w+)", yaml.safe_dump(derived))) == set(row)


def test_the_unit_tests_run_on_the_oldest_and_the_newest_python() -> None:
    """The newest is one that locks/ is tried with; the oldest is what pyproject.toml allows."""
    check = WORKFLOWS["ci.yml"]["jobs"]["check"]
    pythons = [row["python"] for row in check["strategy"]["matrix"]["include"]]
    allowed = nox.project.load_toml(noxfile.PROJECT)["project"]["requires-python"]
    assert pythons[0] == allowed.removeprefix(">=")
    assert set(pythons) == set(PYTHONS)
