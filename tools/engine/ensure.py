"""Make sure that a Docker Engine answers, as root by installing and starting one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tools.common.apt import run_apt
from tools.common.console import say
from tools.common.distribution import needs_newer_release, read_distribution
from tools.common.errors import ToolError
from tools.engine.docker import run_docker
from tools.engine.install import advice, install_directly, install_from_trixie, packages_for
from tools.engine.probe import Engine, probe

#: Published ports lead to their containers by the kernel's rules alone, and not, on loopback, by
#: docker-proxy. It is suspected of losing answers: in most runs of the whole suite one request
#: saw its connection end at the moment when the server, which went on, had computed the answer.
_OPTIONS = ("--userland-proxy=false",)

#: Where a dockerd started by this module keeps its log and its process id.
LOG_FILE = Path("/var/log/jina-embeddings-v5-dockerd.log")
PID_FILE = Path("/run/jina-embeddings-v5-dockerd.pid")

_START_SECONDS = 60
_STOP_SECONDS = 60


def _log_tail(lines: int = 15) -> str:
    try:
        return "\n".join(LOG_FILE.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def _answers() -> bool:
    return run_docker(["version"], timeout=30).returncode == 0


def start() -> None:
    """Start the installed engine and wait until it answers.

    Raises ToolError with the end of its log when it ends instead or takes too long.
    """
    if Path("/run/systemd/system").is_dir():
        say("engine: systemctl start docker")
        subprocess.run(["systemctl", "start", "docker"], check=False)
        process = None
    else:
        say(f"engine: starting dockerd, its log is {LOG_FILE}")
        with LOG_FILE.open("ab") as log:
            process = subprocess.Popen(
                ["dockerd", *_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        PID_FILE.write_text(f"{process.pid}\n", encoding="ascii")
    deadline = time.monotonic() + _START_SECONDS
    while not _answers():
        if process is not None and process.poll() is not None:
            PID_FILE.unlink(missing_ok=True)
            raise ToolError(f"dockerd ended with {process.returncode}:\n{_log_tail()}")
        if time.monotonic() > deadline:
            raise ToolError(
                f"the engine did not answer within {_START_SECONDS} seconds; "
                f"`nox -s engine -- stop` ends it:\n{_log_tail()}"
            )
        time.sleep(0.5)


def _is_dockerd(pid: int) -> bool:
    """Say whether ``pid`` is a dockerd that runs, not one that ended and was not yet reaped."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return fields["Name"] == "dockerd" and not fields["State"].startswith("Z")


def stop() -> None:
    """Stop the engine that :func:`start` started; an engine of anyone else's is left alone."""
    try:
        pid = int(PID_FILE.read_text())
    except (OSError, ValueError):
        say("engine: no dockerd was started here; nothing to stop")
        return
    if _is_dockerd(pid):
        say(f"engine: stopping dockerd (process {pid})")
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while _is_dockerd(pid):
            if time.monotonic() > deadline:
                raise ToolError(f"dockerd ({pid}) did not stop within {_STOP_SECONDS} seconds")
            time.sleep(0.2)
    PID_FILE.unlink(missing_ok=True)


def ensure_engine(*, install: bool = True) -> Engine:
    """Return the engine that answers, after installing and starting one where that is allowed.

    Raises ToolError saying what is missing and the commands for this platform.
    """
    engine = probe()
    if not engine.problems:
        return engine
    distribution = read_distribution()
    packages = packages_for(distribution, engine)
    may_install = (
        install
        and distribution.id in ("debian", "ubuntu")
        and os.geteuid() == 0
        and "DOCKER_HOST" not in os.environ
    )
    if not may_install:
        raise ToolError(advice(engine, distribution, packages))
    say(f"engine: {'; '.join(engine.problems)}")
    if packages:
        run_apt(["update"])
        if needs_newer_release(distribution):
            install_from_trixie(packages)
        else:
            install_directly(packages)
    if not _answers():
        start()
    engine = probe()
    if engine.problems:
        raise ToolError(advice(engine, distribution, []))
    return engine
