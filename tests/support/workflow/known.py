"""What a workflow may say here, and what of it only GitHub can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.workflow.actions import ACTIONS, check_settings
from tests.support.workflow.errors import NotKnownError
from tests.support.workflow.process import SHELLS

#: The keys of a workflow, a job and a step. Those with a text are GitHub's to do, the others are
#: done here.
WORKFLOW_KEYS = {
    "name": "",
    "on": "what starts a run; here the rehearsal says which event and which ref it is",
    "permissions": "",
    "concurrency": "one run or one release after the other: here jobs never run side by side",
    "env": "",
    "jobs": "",
}
JOB_KEYS = {
    "name": "",
    "needs": "",
    "if": "",
    "runs-on": "the runners: Ubuntu 24.04, the disk for the CUDA toolkit's images (about 10 GB), "
    "the memory for small beside Elasticsearch, machines with ARM and with a GPU",
    "timeout-minutes": "",
    "permissions": "the job's token and what it may do: a user and a password of the registry on "
    "this machine stand for it",
    "outputs": "",
    "strategy": "",
    "environment": "who lets a release through",
    "concurrency": "",
    "env": "",
    "steps": "",
}
STEP_KEYS = {"name", "id", "if", "uses", "with", "run", "shell", "env"}


def only_github() -> dict[str, str]:
    """What only GitHub can do: by the key of the workflow or the action that asks for it."""
    said = {
        **WORKFLOW_KEYS,
        **{key: text or WORKFLOW_KEYS.get(key, "") for key, text in JOB_KEYS.items()},
        **{name: action.only_github for name, action in ACTIONS.items()},
    }
    return {key: text for key, text in said.items() if text}


def check_workflow(workflow: Mapping[Any, Any]) -> None:
    """Raise NotKnownError where a workflow says something that is not interpreted here."""
    # YAML 1.1 reads the key `on` as true.
    keys = {"on" if key is True else key for key in workflow}
    _check("the workflow", keys, WORKFLOW_KEYS)
    for name, job in workflow["jobs"].items():
        _check(f"the job {name}", job, JOB_KEYS)
        _check(f"the job {name}: its strategy", job.get("strategy", {}), {"fail-fast", "matrix"})
        _check_steps(f"the job {name}", job["steps"])


def is_own(uses: str) -> bool:
    """Whether an action lies in the repository itself."""
    return uses.startswith("./")


def check_own_action(uses: str, action: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise NotKnownError where an action of our own, or its use, is not interpreted here."""
    _check(uses, action, {"name", "description", "inputs", "runs"})
    _check(f"{uses}: runs", action["runs"], {"using", "steps"})
    if action["runs"]["using"] != "composite":
        raise NotKnownError(f"{uses}: only composite actions are known to the rehearsal")
    _check(f"{uses}: with", settings, action.get("inputs", {}))
    _check_steps(uses, action["runs"]["steps"])
    for step in action["runs"]["steps"]:
        if "run" in step and "shell" not in step:
            raise NotKnownError(f"{uses}: a line without a shell, which GitHub refuses there")


def _check_steps(where: str, steps: Sequence[Mapping[str, Any]]) -> None:
    for step in steps:
        _check(f"{where}, a step", step, STEP_KEYS)
        if step.get("shell") not in SHELLS:
            raise NotKnownError(f"{where}: the shell {step['shell']} is not known")
        if "uses" in step and not is_own(step["uses"]):
            check_settings(step["uses"], step.get("with", {}))


def _check(where: str, found: Any, known: Any) -> None:
    for key in found:
        if key not in known:
            raise NotKnownError(f"{where}: {key!r} is not known to the rehearsal")
