"""A soak: half an hour of mixed load, restarts at its end, and nothing that grows.

``nox -s test -- -n 0 -s -m slow tests/runtime/test_soak.py --soak-folder FOLDER`` leaves the
figures there, as CSV and as a picture; ``--soak-minutes 2`` is a trial. The clients are those of
tests/support/soak/clients.py, what counts as growth stands in tests/support/soak/noted.py.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.boots import MODELS, each_model, tiny
from tests.support.containers import docker, inspect, wait_for_health
from tests.support.soak.chart import draw
from tests.support.soak.clients import LOST, Soak
from tests.support.soak.noted import Noted, growth, look, write
from tools.common.console import say
from tools.facts.models import Model
from tools.serving.profile import Running, booted

CLIENTS = 16
#: The share of the time in which the server is left alone; then it is restarted under load.
UNDISTURBED = 0.8
RESTARTS = 3
#: Rows of the figures: enough for a picture, and few enough to cost the server nothing.
ROWS = 240


def free_port() -> int:
    """A port that a restarted container gets again: one that docker chose would be another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@each_model
def test_nothing_grows_under_mixed_load(
    patched: str,
    model: str,
    pytestconfig: pytest.Config,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    seconds = 60 * float(pytestconfig.getoption("--soak-minutes"))
    folder = Path(pytestconfig.getoption("--soak-folder") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    known = MODELS[model]
    variables = {"JINA_PORT": str(free_port())}
    with booted(known, tiny(known), image=patched, synthetic=True, variables=variables) as running:
        soak, rows = soaked(running, known, seconds)
    write(rows, folder / f"soak-{model}.csv")
    title = f"{model}, {CLIENTS} clients, {seconds / 60:.0f} minutes"
    draw(rows, title, folder / f"soak-{model}.svg")
    say(f"\nsoak of {model}: {soak.statuses.total()} requests {dict(soak.statuses)}")
    say(f"soak of {model}: figures and picture in {folder}")
    record_property("requests", soak.statuses.total())
    assert soak.faults == [], f"{len(soak.faults)} faults, the first: {soak.faults[0]}"
    assert soak.statuses["200"] > (soak.statuses.total() - soak.statuses[LOST]) / 2, soak.statuses
    assert growth(rows) == []


def soaked(running: Running, model: Model, seconds: float) -> tuple[Soak, list[Noted]]:
    """Load a server for so long; what its clients met, and what was noted of it."""
    soak = Soak(running.base_url, model)
    rows: list[Noted] = []
    start = time.monotonic()
    clients = [threading.Thread(target=soak.run, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        life = 0
        state = inspect(running.container_id)["State"]
        while (past := time.monotonic() - start) < seconds:
            lives = int(max(0.0, past / seconds - UNDISTURBED) / (1 - UNDISTURBED) * (RESTARTS + 1))
            if lives > life:
                assert inspect(running.container_id)["State"]["Pid"] == state["Pid"], "it ended"
                life = lives
                restart(running, soak)
                state = inspect(running.container_id)["State"]
            rows.append(
                Noted(
                    seconds=past,
                    life=life,
                    p99_ms=1000 * soak.p99(),
                    requests=soak.statuses.total(),
                    **look(running.container_id),
                )
            )
            soak.enough.wait(seconds / ROWS)
    finally:
        soak.enough.set()
        for client in clients:
            client.join()
    return soak, rows


def restart(running: Running, soak: Soak) -> None:
    """Restart the server while its clients go on; it must end by itself, and tidily."""
    soak.restarting.set()
    soak.restarts += 1
    try:
        docker("stop", "--time", "60", running.container_id, timeout=90)
        assert inspect(running.container_id)["State"]["ExitCode"] == 0
        docker("start", running.container_id)
        wait_for_health(running.container_id, "healthy")
    finally:
        soak.restarts += 1
        soak.restarting.clear()
