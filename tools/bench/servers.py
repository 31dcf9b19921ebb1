"""The servers under measurement, as containers: frozen, restarted, and asked what they used."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen

from python_on_whales.exceptions import DockerException

from tools.docker_client import docker_client, run_docker
from tools.errors import ToolError
from tools.stack import BOOT_SECONDS, CONTAINER_PORT, Running

_PROBE_PAUSE = 0.01


def send_signal(running: Running, name: str) -> None:
    """Stop or continue a server; `docker pause` would do, but cgroup v1 refuses it under load."""
    docker_client().container.kill(running.container_id, signal=name)


@contextmanager
def awake(running: Running) -> Iterator[None]:
    """Let a stopped server run for as long as it is measured."""
    send_signal(running, "CONT")
    try:
        yield
    finally:
        send_signal(running, "STOP")


@contextmanager
def frozen(servers: Sequence[Running]) -> Iterator[None]:
    """Stop these servers, and let them go on at the end, or they could not be ended in time."""
    try:
        for running in servers:
            send_signal(running, "STOP")
        yield
    finally:
        for running in servers:
            # One that has ended needs no signal, and why it did matters more.
            with suppress(DockerException):
                send_signal(running, "CONT")


def peak_bytes(running: Running) -> int:
    """Return the most memory that the server had resident since it was started, in bytes.

    It includes the pages of the model file that it has mapped (Linux, proc(5), VmHWM).
    """
    status = _docker("exec", running.container_id, "cat", "/proc/1/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ToolError(f"/proc/1/status of {running.container_id[:12]} names no VmHWM")
    return int(found[1]) * 1024


def restart_seconds(running: Running) -> float:
    """Stop a server, start it again and return the seconds from then to its first healthy answer.

    The model file is in the page cache: it was in use until now.
    """
    _docker("stop", running.container_id)
    began = time.perf_counter()
    _docker("start", running.container_id)
    # A port that the engine chose is chosen anew.
    published = _docker("port", running.container_id, f"{CONTAINER_PORT}/tcp").splitlines()[0]
    while not _is_healthy(f"http://{published}/health"):
        if time.perf_counter() - began > BOOT_SECONDS:
            raise ToolError(f"a restarted server was not healthy within {BOOT_SECONDS} seconds")
        time.sleep(_PROBE_PAUSE)
    return time.perf_counter() - began


def _is_healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


def compressed_bytes(image: str) -> int:
    """Return an image's size as `docker save IMAGE | gzip` makes it: about what a pull moves."""
    gzip = zlib.compressobj(6)
    total = 0
    with Popen(["docker", "save", image], stdout=PIPE) as save:
        assert save.stdout is not None  # noqa: S101 - for the type checker
        while block := save.stdout.read(1 << 20):
            total += len(gzip.compress(block))
    if save.returncode != 0:
        raise ToolError(f"`docker save {image}` failed (exit code {save.returncode})")
    return total + len(gzip.flush())


def _docker(*arguments: str) -> str:
    result = run_docker(arguments, timeout=120)
    if result.returncode != 0:
        raise ToolError(f"`docker {' '.join(arguments)}` failed: {result.stderr.strip()}")
    return result.stdout
