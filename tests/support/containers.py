"""A single container of the image, outside compose, for as long as a test needs it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.engine.docker import run_docker
from tools.images.labels import FLAVOUR_LABEL, NO_PATCHES, PATCHES_LABEL
from tools.serving.leftovers import OWNER_LABEL, this_process
from tools.serving.profile import clean_environment

#: Seconds in which a container on tiny weights must have become healthy or have ended; a boot
#: takes about one, the rest is for a machine that is busy with other tests.
BOOT_SECONDS = 120.0


def docker(*arguments: str, timeout: float = 60) -> str:
    """Run a docker command that must succeed and return what it printed."""
    result = run_docker(arguments, timeout=timeout)
    assert result.returncode == 0, f"docker {' '.join(arguments)}: {result.stderr}"
    return result.stdout.strip()


def inspect(container: str) -> dict[str, Any]:
    """Everything the engine knows of a container."""
    return dict(json.loads(docker("inspect", container))[0])


def logs(container: str) -> str:
    """What a container has printed so far."""
    result = run_docker(["logs", container], timeout=60)
    return result.stdout + result.stderr


def memory_peak(container: str) -> int:
    """The most main memory that a running container has held, in bytes, with cached files.

    The kernel counts it: memory.peak of cgroup v2 (since Linux 5.19), or what v1 calls it. Cached
    files go when the limit is reached, so a peak at the limit is no sign that it is too low.
    """
    one, two = "memory.peak", "memory/memory.max_usage_in_bytes"
    script = f"cd /sys/fs/cgroup; if [ -e {one} ]; then cat {one}; else cat {two}; fi"
    return int(docker("exec", container, "sh", "-euc", script))


def memory_bytes(container: str, field: str) -> int:
    """A figure of a container's server, in bytes, by its name in /proc/PID/status (proc(5))."""
    status = docker("exec", container, "cat", "/proc/1/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found, f"{field} is not in {status}"
    return int(found.group(1)) * 1024


def label(image: str, name: str) -> str:
    """An image's label; empty where it has none of this name."""
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{name}"}}}}', image)


def is_bare(image: str) -> bool:
    """Whether an image was built without our patches, as its label says."""
    return label(image, PATCHES_LABEL) == NO_PATCHES


def is_cuda(image: str) -> bool:
    """Whether an image is of the cuda flavour, as its label says."""
    return label(image, FLAVOUR_LABEL) == "cuda"


def composed(service: str, *files: Path) -> dict[str, Any]:
    """A service as docker compose makes it of these files together, no variables set."""
    named = [argument for file in files for argument in ("--file", str(file))]
    result = run_docker(
        ["compose", *named, "--profile", service, "config", "--format", "json"],
        environment=clean_environment(),
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout)["services"][service])


@contextmanager
def started(
    image: str, *, options: Sequence[str] = (), arguments: Sequence[str] = ()
) -> Iterator[str]:
    """Start a container, yield its id, and remove it at the end whatever happened.

    Where that is an error, its state and the end of its log are printed, for pytest to show.
    """
    # Its owner, by which `nox -s down` finds what a killed run left behind.
    ours = ["--label", f"{OWNER_LABEL}={this_process()}", "--publish", "127.0.0.1::8080"]
    container = docker("run", "--detach", *ours, *options, image, *arguments)
    try:
        yield container
    except BaseException:
        state = run_docker(["inspect", "--format", "{{json .State}}", container], timeout=60)
        log = run_docker(["logs", "--tail", "40", container], timeout=60)
        print(f"{state.stdout}{log.stdout}{log.stderr}")
        raise
    finally:
        run_docker(["rm", "--force", "--volumes", container], timeout=60)


def with_model(file: Path) -> list[str]:
    """Options that make a container serve ``file``."""
    return [
        "--volume",
        f"{file.parent.resolve()}:/models:ro",
        "--env",
        f"LLAMA_ARG_MODEL=/models/{file.name}",
    ]


def base_url(container: str, port: int = 8080) -> str:
    """Where a container's published port answers."""
    return f"http://{docker('port', container, f'{port}/tcp').splitlines()[0]}"


def wait_for_health(container: str, wanted: str) -> list[str]:
    """Wait until the health is ``wanted``; every different state that was seen, in order.

    Fails at once when the container ended.
    """
    seen: list[str] = []
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        state = inspect(container)["State"]
        health = state["Health"]["Status"]
        if not seen or seen[-1] != health:
            seen.append(health)
        if health == wanted:
            return seen
        assert state["Running"], f"ended with {state['ExitCode']}:\n{logs(container)}"
        assert time.monotonic() < deadline, f"not {wanted}, but {seen}:\n{logs(container)}"
        time.sleep(0.1)


def wait_for_end(container: str, seconds: float = BOOT_SECONDS) -> int:
    """Wait until the container has ended; its exit code."""
    return int(docker("wait", container, timeout=seconds))
