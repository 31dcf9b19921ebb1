"""The servers under measurement: what all of them can do, and those in containers."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import Protocol

from tools.common.errors import ToolError
from tools.common.waiting import wait_for
from tools.engine.docker import ask_docker, run_docker
from tools.serving.health import BOOT_SECONDS, CONTAINER_PORT, inspect, log_tail
from tools.serving.profile import Running

#: Seconds between two looks at a server whose start is measured.
PROBE_PAUSE = 0.01
#: The exit code of a container whose process was ended by SIGKILL.
_KILLED = 137


class MeasuredServer(Protocol):
    """A healthy server: a container or a process."""

    @property
    def base_url(self) -> str:
        """Where it answers."""

    def send_signal(self, name: str) -> None:
        """Send it and all its processes a signal. Raises ToolError where it has ended."""

    def peak_bytes(self) -> int:
        """Return the most memory that it had resident since it was started, in bytes.

        It includes the pages of files that it has mapped (Linux, proc(5), VmHWM).
        """

    def restart_seconds(self) -> float:
        """Stop it, start it again, return the seconds from then to its first healthy answer.

        The model file is in the page cache: it was in use until now. Where it answers may change.
        """

    def last_words(self) -> str:
        """Tell, for an error's text, whether it still runs, and the end of its log."""


@dataclass(frozen=True)
class Container:
    """A server in a container."""

    running: Running

    @property
    def base_url(self) -> str:
        return self.running.base_url

    def send_signal(self, name: str) -> None:
        """`docker pause` would do, but cgroup v1 refuses it under load."""
        container = self.running.container_id
        sent = run_docker(["kill", "--signal", name, container])
        if sent.returncode != 0:
            raise ToolError(
                f"container {container[:12]} cannot be signalled: {sent.stderr.strip()}; "
                f"{self.last_words()}"
            )

    def peak_bytes(self) -> int:
        return read_peak(ask_docker(["exec", self.running.container_id, "cat", "/proc/1/status"]))

    def restart_seconds(self) -> float:
        ask_docker(["stop", self.running.container_id])
        began = time.perf_counter()
        ask_docker(["start", self.running.container_id])
        # A port that the engine chose is chosen anew.
        published = ask_docker(["port", self.running.container_id, f"{CONTAINER_PORT}/tcp"])
        url = f"http://{published.splitlines()[0]}/health"
        if wait_for(lambda: is_healthy(url) or None, BOOT_SECONDS, PROBE_PAUSE) is None:
            raise ToolError(f"a restarted server was not healthy within {BOOT_SECONDS} seconds")
        return time.perf_counter() - began

    def last_words(self) -> str:
        try:
            state = inspect(self.running.container_id).state
        except ToolError as error:
            return f"nothing is known of its container: {error}"
        log = log_tail(self.running.container_id)
        if state.running:
            return f"its container is running, and said at last:\n{log}"
        if state.oom_killed:
            why = ", for it used too much memory"
        elif state.exit_code == _KILLED:
            why = " (killed, as the kernel does where the machine's memory is used up)"
        else:
            why = ""
        return f"its container ended with {state.exit_code}{why}, and said at last:\n{log}"


@contextmanager
def awake(server: MeasuredServer) -> Iterator[None]:
    """Let a stopped server run for as long as it is measured."""
    server.send_signal("CONT")
    try:
        yield
    except BaseException:
        # One that has ended cannot be stopped, and why it did matters more.
        with suppress(ToolError):
            server.send_signal("STOP")
        raise
    server.send_signal("STOP")


@contextmanager
def frozen(servers: Sequence[MeasuredServer]) -> Iterator[None]:
    """Stop these servers, and let them go on at the end, or they could not be ended in time."""
    try:
        for server in servers:
            server.send_signal("STOP")
        yield
    finally:
        for server in servers:
            # One that has ended needs no signal, and why it did matters more.
            with suppress(ToolError):
                server.send_signal("CONT")


def read_peak(status: str) -> int:
    """Return the peak of resident memory, in bytes, from a process's /proc/PID/status."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ToolError("a server's /proc/PID/status names no VmHWM")
    return int(found[1]) * 1024


def is_healthy(url: str) -> bool:
    """Tell whether a GET of ``url`` is answered with success."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
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
