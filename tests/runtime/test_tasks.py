"""The contract of a server for another task than retrieval, and the setting that says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.checks import tasks
from tests.contract.checks.check import Check
from tests.support.boots import MODELS, each_model, plain, tiny, variables
from tests.support.client import Client
from tests.support.containers import logs, started, wait_for_end, with_model
from tests.support.server import Server
from tools.facts.models import OTHER_TASKS
from tools.serving.profile import booted

each_task = pytest.mark.parametrize("task", OTHER_TASKS)


def run(check: Check, server: Server) -> None:
    """Run a check, and say which one where it fails."""
    try:
        check.run(server)
    except AssertionError as error:
        pytest.fail(f"{check.name}: {error}")


@each_task
@each_model
def test_a_server_is_for_the_task_that_it_is_set_to(patched: str, model: str, task: str) -> None:
    known = MODELS[model]
    options = [*with_model(tiny(known)), *variables({"JINA_TASK": task})]
    with plain(patched, options=options) as running:
        server = Server(running.base_url, known, None, None, True, "Q8_0", False, task)
        for check in tasks.CHECKS:
            run(check, server)
        assert f"setting: task = {task}" in logs(running.container)


@each_model
def test_compose_passes_the_task_on(patched: str, model: str) -> None:
    """As `nox -s up -- MODEL --task TASK` boots it."""
    variant = MODELS[model].for_task("text-matching")
    with (
        booted(variant, tiny(MODELS[model]), image=patched, synthetic=True) as running,
        Client(running.base_url) as client,
    ):
        (entry,) = client.request("GET", "/v1/models").json()["data"]
    assert entry["task"] == "text-matching"
    assert entry["id"] == f"jina-embeddings-v5-text-{model}-text-matching-synthetic"


@pytest.mark.parametrize(
    ("file", "settings", "said"),
    [
        ("v5-nano-clustering-Q8_0.gguf", {}, "JINA_TASK=clustering"),
        ("v5-nano-retrieval-Q8_0.gguf", {"JINA_TASK": "clustering"}, "JINA_TASK=retrieval"),
        ("model.gguf", {"JINA_TASK": "searching"}, "'searching' is not one of retrieval"),
    ],
)
def test_a_task_that_is_not_the_files_ends_the_server(
    patched: str, file: str, settings: dict[str, str], said: str
) -> None:
    """Another task's file with the wrong prefixes would answer as if nothing was wrong."""
    weights: Path = tiny(MODELS["nano"])
    options = [
        *("--volume", f"{weights}:/models/{file}:ro"),
        *variables({"LLAMA_ARG_MODEL": f"/models/{file}", **settings}),
    ]
    with started(patched, options=options) as container:
        assert wait_for_end(container) == 1
        assert said in logs(container)
