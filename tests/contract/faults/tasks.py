"""Tasks that are taken for another, or that nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.identity import ToyIdentity
from tests.support.toy.sides import SIDES, TASKS, ToySides

FAULTS = Faults()


@FAULTS.add("task unsaid", caught_by={"models_say_the_task"})
class TaskUnsaid(ToyIdentity):
    def entry(self) -> dict[str, Any]:
        return super().entry() | {"task": None}


@FAULTS.add(
    "every task taken",
    caught_by={"other_tasks_are_told_why", "a_task_without_sides_refuses_queries"},
)
class EveryTaskTaken(ToySides):
    def words(self) -> dict[str, str]:
        return {**SIDES, **dict.fromkeys(TASKS, "document")}


@FAULTS.add(
    "tasks refused without a reason",
    caught_by={"other_tasks_are_told_why", "a_task_without_sides_refuses_queries"},
)
class TasksRefusedWithoutAReason(ToySides):
    def side(self, name: str, value: Any) -> str | None:
        try:
            return super().side(name, value)
        except RefusalError:
            raise bad_request(f"{name} cannot be this", name) from None


@FAULTS.add("every task's name taken", caught_by={"other_tasks_names_are_not_here"})
class EveryTasksNameTaken(ToyIdentity):
    def is_of_another_task(self, asked: str) -> bool:
        return False


@FAULTS.add("the task's prefix only where asked", caught_by={"a_task_without_sides_has_one_prefix"})
class TasksPrefixOnlyWhereAsked(ToySides):
    def implied(self, given: Any) -> Any:
        return given


@FAULTS.add("paths are sides of every task", caught_by={"a_task_without_sides_refuses_queries"})
class PathsAreSidesOfEveryTask(ToySides):
    def of_path(self, side: str) -> str:
        return side


@FAULTS.add("tokens count as texts", caught_by={"a_task_without_sides_leaves_tokens_alone"})
class TokensCountAsTexts(ToySides):
    def read(self, request: Mapping[str, Any], path_side: str | None) -> str | None:
        super().read(request, path_side)
        return None
