"""How many threads a server starts: as many as its container may use CPUs, unless told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.containers import base_url, docker, logs, started, wait_for_health, with_model
from tools.facts.models import load_models
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

#: The slots of the containers here.
SLOTS = 2
#: The most threads for requests where nothing limits the container's processes.
MOST = 512


@dataclass(frozen=True)
class Threads:
    """What a started server says of its threads, and how many it really has."""

    computing: int
    batch: int
    requests: int
    line: str
    tasks: int


def machine_cores() -> int:
    """Physical cores of this machine, as upstream counts them."""
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings")
    return len({file.read_text() for file in files})


def boot(image: str, *options: str, arguments: Sequence[str] = ()) -> Threads:
    """Boot a server with these options of docker run, and let it compute once."""
    file = ensure_synthetic(models_dir(), load_models().models["nano"], "tiny", "Q8_0")
    options = (*with_model(file), "--env", f"LLAMA_ARG_N_PARALLEL={SLOTS}", *options)
    with started(image, options=options, arguments=["--verbosity", "4", *arguments]) as container:
        wait_for_health(container, "healthy")
        with Client(base_url(container)) as client:
            client.embed(["a text of several tokens"])
        tasks = len(docker("exec", container, "ls", "/proc/1/task").split())
        said = logs(container)

    def find(pattern: str) -> re.Match[str]:
        found = re.search(pattern, said)
        assert found, f"no {pattern} in:\n{said}"
        return found

    return Threads(
        computing=int(find(r"system_info: n_threads = (\d+)")[1]),
        batch=int(find(r"\(n_threads_batch = (\d+)\)")[1]),
        requests=int(find(r"threads = .*, up to (\d+) for requests")[1]),
        line=find(r"threads = \d+ for computing \(.*\), up to \d+ for requests")[0],
        tasks=tasks,
    )


def fake_cgroup(folder: Path, content: str) -> list[str]:
    """Options that put a cgroup v2 file in a container's view, whichever version the host has."""
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text(f"{content}\n")
    return ["--volume", f"{folder}:/sys/fs/cgroup:ro"]


# The reasons below suppose a machine of more than one core: on one of a single core every limit
# leaves the default as it is, and says so.


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        (["--cpus", "1"], "the container's limit of 1.00 CPUs"),
        (["--cpus", "0.5"], "the container's limit of 0.50 CPUs"),
        (["--cpuset-cpus", "0"], "the cores that it may run on"),
    ],
    ids=["quota", "half a CPU", "cpuset"],
)
def test_a_limit_sets_the_defaults(patched: str, limit: list[str], why: str) -> None:
    found = boot(patched, *limit)
    assert (found.computing, found.batch) == (1, 1)
    why = "the machine's cores" if machine_cores() == 1 else why
    assert found.line == f"threads = 1 for computing ({why}), up to {found.requests} for requests"


def test_without_a_limit_every_core_is_used(patched: str) -> None:
    found = boot(patched)
    assert (found.computing, found.batch) == (machine_cores(), machine_cores())
    assert "(the machine's cores)" in found.line


def test_what_is_set_wins_over_the_limit(patched: str) -> None:
    """And the numbers are those of the threads that run, not only of the log."""
    limited = boot(patched, "--cpus", "1")
    variables = ["--env", "LLAMA_ARG_THREADS=3", "--env", "LLAMA_ARG_THREADS_HTTP=7"]
    found = boot(patched, "--cpus", "1", *variables)
    assert (found.computing, found.batch, found.requests) == (3, 3, 7)
    assert found.line == "threads = 3 for computing (as set), up to 7 for requests"
    assert found.tasks - limited.tasks == 3 - 1
    prompts = boot(patched, "--cpus", "1", arguments=["--threads-batch", "4"])
    assert (prompts.computing, prompts.batch) == (1, 4)
    assert prompts.line.startswith("threads = 4 for computing (as set), ")


def test_threads_for_requests_fit_the_limit_of_processes(patched: str) -> None:
    """With room for what computes and for whoever looks into the container."""
    assert boot(patched, "--pids-limit", "5000").requests == MOST
    few = boot(patched, "--pids-limit", "100")
    assert 4 <= few.requests <= 100 - few.tasks


@pytest.mark.parametrize(
    ("content", "threads"), [("100000 100000", 1), ("199999 100000", 1), ("max 100000", None)]
)
def test_cgroup_version_2_is_read(
    patched: str, content: str, threads: int | None, tmp_path: Path
) -> None:
    found = boot(patched, *fake_cgroup(tmp_path / "cgroup", content))
    assert found.batch == (threads or machine_cores())
