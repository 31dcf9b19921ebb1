"""The interpreter of the rehearsal: it does what GitHub does, and refuses what it does not know."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml

import noxfile
from tests.contract.checks.all import CHECKS
from tests.support.rehearsal import ONLY_REAL, without_only_real
from tests.support.workflow.actions import ACTIONS
from tests.support.workflow.artifacts import Artifacts
from tests.support.workflow.errors import NotKnownError, StepFailedError
from tests.support.workflow.expressions import Scope, evaluate, fill, holds, starts_with
from tests.support.workflow.known import only_github
from tests.support.workflow.process import SHELLS, Script, run_script
from tests.support.workflow.run import FAILURE, NOT_RUN, SKIPPED, SUCCESS, Event, Run, Surroundings
from tools.facts.paths import ROOT

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text()) for path in noxfile.WORKFLOWS.glob("*.yml")
}
RELEASE = Event(ref="refs/tags/v0.0.1", owner="Somebody", actor="me", token="a-token")
BRANCH = Event(ref="refs/heads/main", owner="Somebody", actor="me", token="a-token")

# ------------------------------------------------------------------ expressions


def scope(success: bool = True, **contexts: Any) -> Scope:
    functions: dict[str, Callable[..., Any]] = {
        "success": lambda: success,
        "cancelled": lambda: False,
        "fromJSON": json.loads,
        "startsWith": starts_with,
    }
    return Scope(contexts, functions)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'a'", "a"),
        ("'it''s'", "it's"),
        ("github.ref", "refs/tags/v1"),
        ("github.ref == 'REFS/TAGS/V1'", True),
        ("github.ref != 'refs/tags/v1'", False),
        ("startsWith(github.ref, 'refs/tags/v')", True),
        ("!startsWith(github.ref, 'refs/heads/')", True),
        ("!cancelled() && github.ref", "refs/tags/v1"),
        ("'' || 'b'", "b"),
        ("'a' && 'b' || 'c'", "b"),
        ("'' && 'b' || 'c'", "c"),
        ("'a' || 'b' && ''", "a"),
        ("('a' || 'b') && ''", ""),
        ("fromJSON('[1, 2]')", [1, 2]),
        ("'a' == 'b' || 'c' == 'c'", True),
    ],
)
def test_an_expression_has_the_value_that_github_gives_it(expression: str, value: Any) -> None:
    assert evaluate(expression, scope(github={"ref": "refs/tags/v1"})) == value


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("github.sha", r"github\.sha"),
        ("'x' || github.sha", r"github\.sha"),
        ("secrets.TOKEN", r"secrets\.TOKEN"),
        ("toJSON(github)", r"toJSON\(\)"),
        ("github.ref[0]", r"\[0\]"),
        ("github.ref > 'a'", "> 'a'"),
        ("github == 'a'", "only strings"),
        ("'a' 'b'", "\"'b'\" is not expected"),
        ("('a'", r"'\)' is expected"),
        ("'a' &&", "ends where a value"),
        ("|| 'a'", "where a value is expected"),
    ],
)
def test_an_expression_that_is_not_known_is_refused(expression: str, what: str) -> None:
    with pytest.raises(NotKnownError, match=what):
        evaluate(expression, scope(github={"ref": "refs/tags/v1"}))


def test_a_text_is_filled_with_values() -> None:
    known = scope(matrix={"image": "cpu", "rows": [1]})
    assert fill("image-${{ matrix.image }}-*", known) == "image-cpu-*"
    assert fill("${{ matrix.image }}/${{ matrix.image }}", known) == "cpu/cpu"
    assert fill("${{ matrix.rows }}", known) == [1]
    with pytest.raises(NotKnownError, match="only strings"):
        fill("a ${{ matrix.rows }}", known)


def test_a_condition_without_a_question_of_its_own_asks_for_success() -> None:
    assert holds("'a' == 'a'", scope())
    assert not holds("'a' == 'a'", scope(success=False))
    assert holds("!cancelled() && 'a' == 'a'", scope(success=False))
    assert not holds("${{ 'a' == 'b' }}", scope())


# ------------------------------------------------------------------ artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def written(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_and_a_folder_come_back(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.upload("one", written(tmp_path / "a" / "image.tar", "i"), if_no_files_found="error")
    written(tmp_path / "reports" / "deep" / "unit.xml", "u")
    written(tmp_path / "reports" / ".hidden")
    artifacts.upload("two", tmp_path / "reports", if_no_files_found="warn")
    for name in ("one", "two"):
        artifacts.download(name, tmp_path / "taken")
    taken = {
        str(path.relative_to(tmp_path / "taken")): path.read_text()
        for path in (tmp_path / "taken").rglob("*")
        if path.is_file()
    }
    assert taken == {"image.tar": "i", "deep/unit.xml": "u"}


def test_what_matches_a_pattern_comes_side_by_side_or_merged(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    for name in ("image-cpu-amd64", "image-cpu-arm64", "image-cuda-amd64"):
        artifacts.upload(name, written(tmp_path / f"{name}.tar"), if_no_files_found="error")
    artifacts.download_matching("image-cpu-*", tmp_path / "merged", merge=True)
    artifacts.download_matching("image-cpu-*", tmp_path / "apart", merge=False)
    merged = sorted(path.name for path in (tmp_path / "merged").iterdir())
    assert merged == ["image-cpu-amd64.tar", "image-cpu-arm64.tar"]
    apart = sorted(path.name for path in (tmp_path / "apart").iterdir())
    assert apart == ["image-cpu-amd64", "image-cpu-arm64"]


def test_a_missing_file_a_missing_artifact_and_a_second_one_are_failures(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    with pytest.raises(StepFailedError, match="no files at"):
        artifacts.upload("one", tmp_path / "nothing", if_no_files_found="error")
    artifacts.upload("one", tmp_path / "nothing", if_no_files_found="warn")
    with pytest.raises(StepFailedError, match="no artifact one"):
        artifacts.download("one", tmp_path)
    artifacts.upload("one", written(tmp_path / "file"), if_no_files_found="error")
    with pytest.raises(StepFailedError, match="has an artifact one already"):
        artifacts.upload("one", tmp_path / "file", if_no_files_found="error")


# ------------------------------------------------------------------ jobs


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit on main, and a tag on it."""
    folder = tmp_path_factory.mktemp("repository")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    written(folder / "tracked", "t")
    copytree(ROOT / ".github" / "actions", folder / ".github" / "actions")
    for command in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("add", "--all"),
        (*who, "commit", "--quiet", "--message", "one"),
        (*who, "commit", "--quiet", "--message", "two", "--allow-empty"),
        ("tag", "v0.0.1"),
        ("tag", "v0.0.0"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


CHECK_OUT = {"name": "Check out", "uses": "actions/checkout@v7"}


def run(
    jobs: Mapping[str, Any],
    repository: Path,
    folder: Path,
    event: Event = BRANCH,
    **around: Any,
) -> Run:
    """Run a workflow with these jobs, each given the keys that all must have."""
    for name, job in jobs.items():
        job.setdefault("name", name)
        job.setdefault("timeout-minutes", 1)
        for step in job["steps"]:
            step.setdefault("name", "a step")
        if "checkout" not in job["steps"][0].get("uses", ""):
            job["steps"].insert(0, CHECK_OUT)
    made = Run({"jobs": jobs}, event, Surroundings(repository, ENVIRONMENT, **around), folder)
    made.all()
    return made


def script(text: str, **keys: Any) -> dict[str, Any]:
    return {"steps": [{"run": text}], **keys}


def results(made: Run) -> dict[str, str]:
    return {name: job.result for name, job in made.jobs.items()}


def test_a_job_has_a_clean_clone_and_nothing_of_another_job(
    repository: Path, tmp_path: Path
) -> None:
    leave = "ls -A; test ! -e left; touch left ~/left $RUNNER_TEMP/left"
    look = "test ! -e left && test ! -e ~/left && test ! -e $RUNNER_TEMP/left && cat tracked"
    made = run({"one": script(leave), "two": script(look)}, repository, tmp_path)
    assert results(made) == {"one": SUCCESS, "two": SUCCESS}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one-0.log", "two-0.log"]


@pytest.mark.parametrize(
    ("event", "depth", "found"),
    [
        (BRANCH, 1, "1:"),
        (RELEASE, 1, "1:v0.0.1"),
        (BRANCH, 0, "2:v0.0.0 v0.0.1"),
        (RELEASE, 0, "2:v0.0.0 v0.0.1"),
    ],
)
def test_a_checkout_has_the_commits_and_tags_that_the_action_fetches(
    repository: Path, tmp_path: Path, event: Event, depth: int, found: str
) -> None:
    check_out = {**CHECK_OUT, "with": {"fetch-depth": depth}}
    look = f'test "$(git rev-list --count HEAD):$(echo $(git tag))" = "{found}"'
    made = run({"one": {"steps": [check_out, {"run": look}]}}, repository, tmp_path, event)
    assert results(made) == {"one": SUCCESS}, (tmp_path / "one-0.log").read_text()


def test_a_failing_line_fails_the_job_and_skips_what_needs_it(
    repository: Path, tmp_path: Path
) -> None:
    made = run(
        {
            "build": {
                "steps": [
                    {"run": "false\ntrue"},
                    {"run": "echo went on"},
                    {"run": "echo was noted", "if": "failure()"},
                ]
            },
            "verify": script("true", needs="build"),
            "publish": script(
                "true", needs=["verify"], **{"if": "!cancelled() && needs.verify.result == 'x'"}
            ),
            "report": script(
                "true", needs=["build"], **{"if": "!cancelled() && needs.build.result == 'failure'"}
            ),
            "other": script("true"),
        },
        repository,
        tmp_path,
    )
    assert results(made) == {
        "build": FAILURE,
        "verify": SKIPPED,
        "publish": SKIPPED,
        "report": SUCCESS,
        "other": SUCCESS,
    }
    (part,) = made.jobs["build"].parts
    assert part.why == "a step: exit code 1"
    assert part.log is not None
    assert [line for line in part.log.read_text().splitlines() if "---" not in line] == [
        "was noted"
    ]


def test_only_bash_by_name_has_pipefail(repository: Path, tmp_path: Path) -> None:
    named = {"steps": [{"run": "false | cat", "shell": "bash"}]}
    made = run({"plain": script("false | cat"), "named": named}, repository, tmp_path)
    assert results(made) == {"plain": SUCCESS, "named": FAILURE}


def test_one_row_of_a_matrix_that_fails_fails_the_job_after_the_others(
    repository: Path, tmp_path: Path
) -> None:
    plan = {
        "steps": [
            {
                "id": "matrix",
                "run": 'echo \'rows={"include": [{"image": "cpu", "code": "1"}, '
                '{"image": "cuda", "code": "0"}]}\' >> "$GITHUB_OUTPUT"',
            }
        ],
        "outputs": {"rows": "${{ steps.matrix.outputs.rows }}"},
    }
    build = {
        "name": "Build ${{ matrix.image }}",
        "needs": "plan",
        "strategy": {"matrix": "${{ fromJSON(needs.plan.outputs.rows) }}"},
        "steps": [{"run": 'exit "$CODE"', "env": {"CODE": "${{ matrix.code }}"}}],
    }
    made = run({"plan": plan, "build": build}, repository, tmp_path)
    went = [(part.name, part.result) for part in made.jobs["build"].parts]
    assert went == [("Build cpu", FAILURE), ("Build cuda", SUCCESS)]
    assert results(made) == {"plan": SUCCESS, "build": FAILURE}


def test_a_row_that_is_left_out_is_said_and_taken_to_have_passed(
    repository: Path, tmp_path: Path
) -> None:
    made = run(
        {"gpu": script("false"), "publish": script("true", needs="gpu")},
        repository,
        tmp_path,
        left_out=lambda job, _row: "there is no GPU" if job == "gpu" else "",
    )
    (part,) = made.jobs["gpu"].parts
    assert (part.result, part.why) == (NOT_RUN, "there is no GPU")
    assert results(made) == {"gpu": SUCCESS, "publish": SUCCESS}


def test_a_host_is_replaced_in_lines_and_variables(repository: Path, tmp_path: Path) -> None:
    step = {
        "run": 'test "ghcr.io $WHERE" = "$BOTH"',
        "env": {"WHERE": "ghcr.io/a"},
        "name": "look",
    }
    both = {"BOTH": "localhost:1 localhost:1/a"}
    for host, result in (("ghcr.io", SUCCESS), ("another.example", FAILURE)):
        made = run(
            {"one": {"steps": [dict(step)]}},
            repository,
            tmp_path / result,
            variables={("one", "look"): both},
            hosts={host: "localhost:1"},
        )
        assert results(made) == {"one": result}


def test_what_a_fresh_runner_would_not_have_goes_after_each_job(
    repository: Path, tmp_path: Path
) -> None:
    tidied: list[str] = []
    run(
        {"one": script("true"), "two": script("false")},
        repository,
        tmp_path,
        tidy_up=lambda: tidied.append("up"),
    )
    assert tidied == ["up", "up"]


def test_a_job_that_takes_longer_than_it_may_fails(tmp_path: Path) -> None:
    made = Script("sleep 600", SHELLS[None], ENVIRONMENT, tmp_path, tmp_path / "log", 0.1)
    assert run_script(made) == 124


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"uses": "actions/setup-go@v5"}, "action actions/setup-go@v5 is not known"),
        ({"uses": "actions/cache@v5", "with": {"restore-keys": "a"}}, "setting 'restore-keys'"),
        ({"uses": "actions/upload-artifact@v7", "with": {"path": "a\nb"}}, "several paths"),
        ({"run": "true", "shell": "pwsh"}, "shell pwsh"),
        ({"run": "true", "continue-on-error": True}, "'continue-on-error'"),
        ({"run": "echo ${{ github.sha }}"}, r"github\.sha"),
    ],
)
def test_a_step_that_says_something_unknown_is_refused(
    change: dict[str, Any], what: str, repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotKnownError, match=what):
        run({"one": {"steps": [change]}}, repository, tmp_path)


OWN = """
inputs:
  word: {default: nothing}
runs:
  using: composite
  steps:
    - {name: Say, shell: bash, run: 'echo "said ${{ inputs.word }} $JOB"'}
    - {name: Look, shell: bash, run: 'test ${{ inputs.word }} != wrong'}
"""


def uses_own(action: str, **given: str) -> dict[str, Any]:
    """A job that writes an action into its checkout, uses it, and goes on.

    The action's expressions are not the writing line's, so `@` stands for their first letter there.
    """
    hidden = action.replace("$", "@")
    lay = {"run": f"mkdir own && tr @ '$' > own/action.yml <<'END'\n{hidden}END"}
    use = {"name": "use", "uses": "./own", "with": given}
    return {"env": {"JOB": "in a job"}, "steps": [lay, use, {"run": "echo went on"}]}


@pytest.mark.parametrize(
    ("given", "said", "why"),
    [
        ({}, "said nothing in a job\n", ""),
        ({"word": "${{ github.ref_type }}"}, "said branch in a job\n", ""),
        ({"word": "wrong"}, "said wrong in a job\n", "use: Look: exit code 1"),
    ],
)
def test_an_action_of_our_own_is_run_from_the_checkout(
    given: dict[str, str], said: str, why: str, repository: Path, tmp_path: Path
) -> None:
    made = run({"one": uses_own(OWN, **given)}, repository, tmp_path)
    log = (tmp_path / "one-0.log").read_text()
    assert said in log
    assert made.jobs["one"].parts[0].why == why
    assert ("went on" in log) == (not why)


@pytest.mark.parametrize(
    ("action", "given", "what"),
    [
        (OWN, {"wrod": "a"}, "'wrod'"),
        (OWN.replace("composite", "node24"), {}, "only composite actions"),
        (OWN.replace("shell: bash, ", "", 1), {}, "a line without a shell"),
        (OWN.replace("name: Look", "name: Look, uses: actions/setup-go@v5"), {}, "setup-go"),
        (OWN.replace("runs:", "outputs: {}\nruns:"), {}, "'outputs'"),
    ],
    ids=["an input", "a kind", "a line", "an action", "a key"],
)
def test_an_action_of_our_own_that_says_something_unknown_is_refused(
    action: str, given: dict[str, str], what: str, repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotKnownError, match=what):
        run({"one": uses_own(action, **given)}, repository, tmp_path)


def test_an_action_of_our_own_that_is_not_checked_out_fails_the_job(
    repository: Path, tmp_path: Path
) -> None:
    made = run({"one": {"steps": [{"uses": "./missing"}]}}, repository, tmp_path)
    assert results(made) == {"one": FAILURE}


@pytest.mark.parametrize("key", ["container", "services", "continue-on-error", "defaults"])
def test_a_job_with_an_unknown_key_is_refused(key: str, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(NotKnownError, match=key):
        run({"one": script("true", **{key: "x"})}, repository, tmp_path)


# ------------------------------------------------------------------ our workflow


class Recorder:
    """A shell that notes the lines of each job; it only derives the plan and hands outputs on."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.lines: dict[str, list[str]] = {}

    def __call__(self, script: Script) -> int:
        job = script.log.stem.rpartition("-")[0]
        self.lines.setdefault(job, []).append(script.text)
        output = Path(script.environment["GITHUB_OUTPUT"])
        if "tools.facts.matrix" in script.text:
            return run_script(replace(script, folder=ROOT))
        if "archive -- save" in script.text:
            name = script.environment["FILE"]
            written(Path(script.environment["RUNNER_TEMP"]) / name, name)
        if "--outputs-to" in script.text:
            output.write_text("repository=ghcr.io/somebody/name\ndigest=sha256:0\n")
        return 1 if self.fails and self.fails in script.text else 0


def rehearsed(event: Event, shell: Recorder, repository: Path, folder: Path) -> Run:
    """Our own workflow, whole, without what its lines would do."""
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"
    around = Surroundings(repository, {**ENVIRONMENT, "PATH": path}, shell=shell)
    made = Run(WORKFLOWS["ci.yml"], event, around, folder)
    made.all()
    return made


@pytest.fixture
def no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment for each job: nothing is run in it."""
    name = "actions/setup-python"
    monkeypatch.setitem(ACTIONS, name, replace(ACTIONS[name], do=ACTIONS["actions/cache"].do))


@pytest.mark.usefixtures("no_python")
def test_a_release_runs_every_job_but_the_gpus_and_the_rehearsal(
    repository: Path, tmp_path: Path
) -> None:
    shell = Recorder()
    made = rehearsed(RELEASE, shell, repository, tmp_path)
    skipped = {name for name, result in results(made).items() if result != SUCCESS}
    assert skipped == {"gpu", "rehearse"}
    assert {part.name for part in made.jobs["publish"].parts} == {"Publish cpu"}
    assert made.signed == [{"subject-name": "ghcr.io/somebody/name", "subject-digest": "sha256:0"}]


@pytest.mark.usefixtures("no_python")
def test_a_branch_publishes_nothing(repository: Path, tmp_path: Path) -> None:
    shell = Recorder()
    made = rehearsed(BRANCH, shell, repository, tmp_path)
    skipped = {name for name, result in results(made).items() if result != SUCCESS}
    assert skipped == {"gpu", "publish"}
    assert [line for line in shell.lines["rehearse"] if "--dry-run" in line]


@pytest.mark.usefixtures("no_python")
@pytest.mark.parametrize(
    "line",
    [
        "nox -s lint",
        "first-only",
        "--weights real",
        "tests/publish",
        "nox -s search -- elasticsearch",
    ],
)
def test_a_failure_anywhere_is_not_published(line: str, repository: Path, tmp_path: Path) -> None:
    made = rehearsed(RELEASE, Recorder(fails=line), repository, tmp_path)
    assert FAILURE in results(made).values()
    assert results(made)["publish"] == SKIPPED


def test_what_synthetic_weights_are_spared_are_checks_of_the_real_ones() -> None:
    """A name that is no longer a check's is noticed."""
    assert set(ONLY_REAL) <= {check.name for check in CHECKS}
    collect = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "tests/contract"]
    ran = subprocess.run(
        [*collect, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, **without_only_real()},
        capture_output=True,
        text=True,
        check=True,
    )
    spared = [name for name in ONLY_REAL if f"-Q8_0-{name}]" in ran.stdout]
    assert spared == []
    assert "-Q8_0-prefixes_help]" in ran.stdout


def test_the_docs_say_what_only_github_can_do() -> None:
    text = (ROOT / "docs" / "publish" / "ci.md").read_text()
    section = text.partition("## What only GitHub can show")[2].partition("\n## ")[0]
    listed = re.findall(r"^- `([^`]+)`: ((?:.+\n)(?:  .+\n)*)", section, re.MULTILINE)
    said = {key: " ".join(words.split()).rstrip(";.") for key, words in listed}
    assert said == only_github()
