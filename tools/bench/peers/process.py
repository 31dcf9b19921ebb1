"""A peer as a process of this machine: stopped, restarted, and asked what it used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.bench.peers.servers import PROBE_PAUSE, is_healthy, read_peak
from tools.common.errors import ToolError
from tools.common.files import temporary_folder
from tools.common.processes import describe_end, tail
from tools.common.waiting import wait_for
from tools.serving.health import BOOT_SECONDS
from tools.serving.profile import STOP_SECONDS

#: What stands for the port in a command.
PORT = "{port}"


class Process:
    """A server that a command starts, in a process group of its own, on a free loopback port."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], health: str, log: Path
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._health = health
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and return once it is healthy.

        Raises ToolError, with the end of its log, at once when it ended, else after BOOT_SECONDS.
        """
        self._port = _free_port()
        command = [word.replace(PORT, str(self._port)) for word in self._command]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        process = self._process

        def look() -> bool | None:
            if is_healthy(f"{self.base_url}{self._health}"):
                return True
            if (code := process.poll()) is not None:
                raise ToolError(
                    f"it ended before it was healthy, with {describe_end(code)}:\n{self._said()}"
                )
            return None

        if wait_for(look, BOOT_SECONDS, PROBE_PAUSE) is None:
            raise ToolError(f"it was not healthy within {BOOT_SECONDS} s:\n{self._said()}")

    def stop(self) -> None:
        """End it and all that it started; does nothing where it was not started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGCONT)
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def send_signal(self, name: str) -> None:
        process = self._running()
        os.killpg(process.pid, signal.Signals[f"SIG{name}"])

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self._running().pid}/status")
        return read_peak(status.read_text(encoding="ascii", errors="replace"))

    def restart_seconds(self) -> float:
        self.stop()
        began = time.perf_counter()
        self.start()
        return time.perf_counter() - began

    def last_words(self) -> str:
        code = None if self._process is None else self._process.poll()
        state = "is running" if code is None else f"ended with {describe_end(code)}"
        return f"its process {state}, and said at last:\n{self._said()}"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or (code := self._process.poll()) is not None:
            ended = "" if self._process is None else f", with {describe_end(code or 0)}"
            raise ToolError(f"the process has ended{ended}:\n{self._said()}")
        return self._process

    def _said(self) -> str:
        if not self._log.exists():
            return "it said nothing"
        return tail(self._log.read_text(encoding="utf-8", errors="replace"))


@contextmanager
def booted_process(
    command: Sequence[str], environment: Mapping[str, str], health: str
) -> Iterator[Process]:
    """Start a server, yield it healthy, and end it whatever happened.

    In ``command``, {port} stands for the port; ``health`` is the path that answers when it is
    ready. Raises ToolError when it does not become healthy.
    """
    with temporary_folder("jina-peer-") as folder:
        process = Process(command, environment, health, folder / "log")
        try:
            process.start()
            yield process
        finally:
            process.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
