"""A server as its users start it: a profile of compose, or one `docker run` with a model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.client import Client
from tests.support.containers import (
    base_url,
    inspect,
    logs,
    started,
    wait_for_health,
    with_model,
)
from tools.facts.models import Model, load_models
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.recipe import Size
from tools.weights.synthetic import ensure_synthetic

Way = Literal["compose", "plain"]
WAYS: tuple[Way, ...] = ("compose", "plain")
MODELS = load_models().models


@dataclass(frozen=True)
class Case:
    """Which model is served, and how it was started."""

    model: Model
    way: Way


CASES = [Case(model, way) for model in MODELS.values() for way in WAYS]

#: Runs a test for both models, with compose's settings and with none.
each_case = pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.model.name}-{case.way}" for case in CASES]
)
#: Runs a test for both models where compose changes nothing.
each_model = pytest.mark.parametrize("model", MODELS)


@dataclass(frozen=True)
class Served:
    """A healthy server in a container of its own."""

    base_url: str
    container: str
    pid: int

    def client(self, timeout: float = 600.0) -> Client:
        """Return a client of it, to be used as a context manager."""
        return Client(self.base_url, timeout=timeout)

    def assert_alive(self) -> None:
        """Expect the very process that was started."""
        state = inspect(self.container)["State"]
        alive = state["Running"] and state["Pid"] == self.pid and not state["OOMKilled"]
        assert alive, f"{state}\n{logs(self.container)[-4000:]}"


def tiny(model: Model, size: Size = "tiny") -> Path:
    """The synthetic weights of a model, small ones by default."""
    return ensure_synthetic(models_dir(), model, size, "Q8_0")


def variables(settings: Mapping[str, str]) -> list[str]:
    """Options of docker run that set these variables."""
    return [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]


@contextmanager
def served(
    image: str,
    case: Case,
    *,
    settings: Mapping[str, str] | None = None,
    pids: int | None = None,
    size: Size = "tiny",
) -> Iterator[Served]:
    """Boot a case's model on synthetic weights, with ``settings`` as further variables.

    ``pids`` is the most processes and threads that its container may have. What ends is not
    started again, so that a test sees it.
    """
    file = tiny(case.model, size)
    if case.way == "plain":
        limit = [] if pids is None else ["--pids-limit", str(pids)]
        options = [*with_model(file), *variables(settings or {}), *limit]
        with plain(image, options=options) as one:
            yield one
        return
    service: dict[str, Any] = {"environment": dict(settings or {}), "restart": "no"}
    if pids is not None:
        service["pids_limit"] = pids
    with tempfile.TemporaryDirectory() as folder:
        more = Path(folder) / "more.yaml"
        # JSON is YAML.
        more.write_text(json.dumps({"services": {case.model.name: service}}), encoding="utf-8")
        with booted(case.model, file, image=image, synthetic=True, overrides=[more]) as running:
            pid = inspect(running.container_id)["State"]["Pid"]
            yield Served(running.base_url, running.container_id, pid)


@contextmanager
def plain(image: str, *, options: Sequence[str], arguments: Sequence[str] = ()) -> Iterator[Served]:
    """Run a container with these options and arguments, and wait until it is healthy."""
    with started(image, options=options, arguments=arguments) as container:
        wait_for_health(container, "healthy")
        yield Served(base_url(container), container, inspect(container)["State"]["Pid"])
