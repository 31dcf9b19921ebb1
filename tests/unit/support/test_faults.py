"""Every contract check can fail: each fault of the toy server is caught by its checks."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest

from tests.contract import checks
from tests.contract.checks import health, numbers, tasks
from tests.contract.checks.all import CHECKS, ORDER
from tests.contract.checks.check import Check
from tests.contract.faults.all import FAULTS
from tests.contract.faults.fault import Fault
from tests.support import sockets
from tests.support.published import published
from tests.support.toy.model import ToyReference
from tests.support.toy.server import ToyServer
from tools.facts.models import OTHER_TASKS, RETRIEVAL, load_models

MODELS = load_models().models
BY_NAME = {check.name: check for check in CHECKS}

#: Modules beside the checks that have none themselves.
HELPERS = {"all", "check", "inputs"}

#: The toy's key: it asks for one, so that the checks of keys have something to judge.
KEY = "toy-key"


def task_for(check: Check) -> str:
    """The task of the toy that a check wants."""
    return OTHER_TASKS[0] if "task" in check.needs else RETRIEVAL


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a toy does not do at once it never does."""
    monkeypatch.setattr(sockets, "HANG_SECONDS", 1.0)
    monkeypatch.setattr(health, "COUNTED_SECONDS", 0.5)


@pytest.fixture(autouse=True)
def toy_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a toy's "model file" be just its model's name."""
    monkeypatch.setattr(
        numbers, "reference", lambda model_file: ToyReference(MODELS[model_file.name])
    )


def run(check: Check, server: ToyServer) -> None:
    check.run(server.described(model_file=Path(server.model.name)))


@pytest.mark.parametrize("model", MODELS)
def test_without_a_fault_every_check_passes(model: str) -> None:
    with ToyServer(MODELS[model], synthetic=False, api_key=KEY) as server:
        for check in CHECKS:
            is_published = "published-figures" not in check.needs or model in published()
            if is_published and task_for(check) == server.task:
                run(check, server)


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_without_a_fault_every_check_of_tasks_passes(task: str) -> None:
    with ToyServer(MODELS["nano"], synthetic=True, api_key=KEY, task=task) as server:
        for check in tasks.CHECKS:
            run(check, server)


def test_without_a_fault_synthetic_weights_are_named_so() -> None:
    with ToyServer(MODELS["nano"], synthetic=True, api_key=KEY) as server:
        run(BY_NAME["models"], server)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        pytest.param(fault, name, id=f"{fault.name}-{name}")
        for fault in FAULTS
        for name in sorted(fault.caught_by)
    ],
)
def test_fault_is_caught(fault: Fault, name: str) -> None:
    check = BY_NAME[name]
    toy = ToyServer(
        MODELS[fault.model],
        fault.part,
        synthetic="real-weights" not in check.needs,
        api_key=KEY,
        task=task_for(check),
    )
    with toy as server, pytest.raises(AssertionError):
        run(check, server)


def test_every_check_catches_a_fault() -> None:
    assert set().union(*(fault.caught_by for fault in FAULTS)) == set(BY_NAME)


def test_every_fault_is_caught() -> None:
    assert [fault.name for fault in FAULTS if not fault.caught_by] == []


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CHECKS)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_every_module_of_checks_has_its_place() -> None:
    """A module that all.py does not list would never run."""
    modules = {module.name for module in pkgutil.iter_modules(checks.__path__)}
    assert sorted(modules - HELPERS) == sorted(ORDER)
