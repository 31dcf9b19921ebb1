"""What the toy says of itself: its name, its entry in the list of models, and its limits."""

from __future__ import annotations

from typing import Any

from tests.support.refusals import RefusalError
from tools.facts.models import OTHER_TASKS, RETRIEVAL, Model, load_models


def base_name(model: str) -> str:
    """Return the name of a model's repository, without its owner."""
    return f"jina-embeddings-v5-text-{model}"


def bare(asked: str) -> str:
    """Return a name without what clients may add to it."""
    return asked.removeprefix("jinaai/").removesuffix("-retrieval")


def refusal_of_model(message: str) -> RefusalError:
    """Return the refusal for a model that is not served."""
    return RefusalError(404, "model_not_found", message)


class ToyIdentity:
    """Knows which model is served, for which task, and whether its weights are synthetic."""

    def __init__(self, model: Model, *, synthetic: bool, task: str = RETRIEVAL) -> None:
        self.model = model
        self.task = task
        self.name = f"{base_name(model.name)}-{task}" + self.suffix(synthetic=synthetic)

    def suffix(self, *, synthetic: bool) -> str:
        """Return the end of the name that tells synthetic weights from real ones."""
        return "-synthetic" if synthetic else ""

    def named(self, asked: str) -> str:
        """Return the name to answer in; raises RefusalError for another model's or task's."""
        others = {base_name(name) for name in load_models().models} - {base_name(self.model.name)}
        if bare(asked) in others or self.is_of_another_task(asked):
            raise refusal_of_model(f"this server serves {self.name}")
        return self.name

    def is_of_another_task(self, asked: str) -> bool:
        """Whether a name is that of this model with the weights of another task."""
        others = {RETRIEVAL, *OTHER_TASKS} - {self.task}
        own = base_name(self.model.name)
        return asked.removeprefix("jinaai/") in {f"{own}-{task}" for task in others}

    def is_own(self, path: str) -> bool:
        """Whether a path is that of the served model's entry."""
        return path in (f"/models/{self.name}", f"/v1/models/{self.name}")

    def entry(self) -> dict[str, Any]:
        """Return what the list of models says of the only one."""
        return {
            "id": self.name,
            "object": "model",
            "capabilities": ["embedding"],
            "dimensions": self.model.dims,
            "matryoshka": list(self.model.matryoshka),
            "context": self.model.context,
            "pooling": "last",
            "task": self.task,
        }

    def info(self) -> dict[str, Any]:
        """Return what text-embeddings-inference tells of itself."""
        return {
            "model_id": self.name,
            "served_model_name": self.name,
            "model_type": {"embedding": {"pooling": "last_token"}},
            "auto_truncate": False,
            "version": "toy",
            "max_input_length": self.model.context,
            "max_concurrent_requests": 64,
            "max_batch_tokens": 64,
            "max_client_batch_size": 64,
        }
