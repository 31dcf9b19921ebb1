"""Make sure that a Docker Engine answers, as root by installing and starting one."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from tools.common.apt import DEBIAN_KEYRING, run_apt, target_sites
from tools.common.console import say
from tools.common.errors import ToolError
from tools.engine.docker import run_docker

#: Named build contexts need BuildKit 0.10, first shipped in Docker Engine 23.0
#: (docs.docker.com/engine/release-notes/23.0). The engine's version is compared because
#: distribution builds report their BuildKit as v0.0.0+unknown.
MINIMUM_ENGINE = Version("23.0")
#: The first buildx with `--build-context` (github.com/docker/buildx/releases/tag/v0.8.0).
MINIMUM_BUILDX = Version("0.8")
#: The first compose with `pull --policy`; `include` came with 2.20
#: (docs.docker.com/compose/release-notes).
MINIMUM_COMPOSE = Version("2.22")

#: Published ports lead to their containers by the kernel's rules alone, and not, on loopback, by
#: docker-proxy. It is suspected of losing answers: in most runs of the whole suite one request
#: saw its connection end at the moment when the server, which went on, had computed the answer.
_OPTIONS = ("--userland-proxy=false",)

#: Where a dockerd started by this module keeps its log and its process id.
LOG_FILE = Path("/var/log/jina-embeddings-v5-dockerd.log")
PID_FILE = Path("/run/jina-embeddings-v5-dockerd.pid")

_START_SECONDS = 60
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Engine:
    """What answers now; None where there is nothing."""

    client: bool
    server: Version | None
    buildx: Version | None
    compose: Version | None
    server_error: str

    @property
    def problems(self) -> list[str]:
        """What stands in the way of building and booting, in a person's words."""
        found = []
        if not self.client:
            found.append("there is no docker command")
        elif self.server is None:
            found.append(f"no Docker Engine answers ({self.server_error})")
        elif self.server < MINIMUM_ENGINE:
            found.append(
                f"Docker Engine {self.server} is older than {MINIMUM_ENGINE}, "
                "the first whose BuildKit has named build contexts"
            )
        for name, version, minimum in (
            ("buildx", self.buildx, MINIMUM_BUILDX),
            ("compose", self.compose, MINIMUM_COMPOSE),
        ):
            if version is None:
                found.append(f"docker has no {name} plugin")
            elif version < minimum:
                found.append(f"the {name} plugin {version} is older than {minimum}")
        return found


@dataclass(frozen=True)
class Distribution:
    """The host's distribution, from /etc/os-release; empty strings elsewhere."""

    id: str
    version: str
    codename: str


def parse_version(text: str) -> Version | None:
    """Return the first dotted number in ``text`` as a version, or None.

    Distribution builds append text of their own (``26.1.5+dfsg1``), which is dropped.
    """
    match = re.search(r"\d+(?:\.\d+)+", text)
    return Version(match.group()) if match else None


def probe() -> Engine:
    """Look at what is installed and running; changes nothing."""
    if shutil.which("docker") is None:
        return Engine(client=False, server=None, buildx=None, compose=None, server_error="")
    server = run_docker(["version", "--format", "{{json .Server.Version}}"], timeout=30)
    buildx = run_docker(["buildx", "version"], timeout=30)
    compose = run_docker(["compose", "version", "--short"], timeout=30)
    answered = server.returncode == 0
    last_line = (server.stderr.strip().splitlines() or ["no answer"])[-1]
    return Engine(
        client=True,
        server=parse_version(json.loads(server.stdout)) if answered else None,
        buildx=parse_version(buildx.stdout) if buildx.returncode == 0 else None,
        compose=parse_version(compose.stdout) if compose.returncode == 0 else None,
        server_error=last_line,
    )


def read_distribution() -> Distribution:
    """Return the host's distribution (freedesktop.org os-release)."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return Distribution("", "", "")
    return Distribution(
        release.get("ID", ""), release.get("VERSION_ID", ""), release.get("VERSION_CODENAME", "")
    )


def packages_for(distribution: Distribution, engine: Engine) -> list[str]:
    """Return the packages that the distribution lacks of ours, for what ``engine`` is missing.

    An engine that is installed is never replaced, only started or completed.
    """
    ubuntu = distribution.id == "ubuntu"
    wanted = []
    if shutil.which("dockerd") is None and engine.server is None:
        wanted += ["docker.io"] if ubuntu else ["docker.io", "docker-cli", "containerd"]
    if engine.buildx is None:
        wanted.append("docker-buildx")
    if engine.compose is None:
        wanted.append("docker-compose-v2" if ubuntu else "docker-compose")
    return wanted


def needs_newer_release(distribution: Distribution) -> bool:
    """Say whether Debian's own packages are too old, so that those of trixie are taken.

    Debian 12 has docker.io 20.10. The ones of trixie need only libc6 >= 2.34 (Debian 12 has
    2.36), except runc, which therefore stays Debian 12's own.
    """
    return distribution.id == "debian" and Version(distribution.version or "0") < Version("13")


def parse_changes(simulation: str) -> list[str]:
    """Return the packages that ``apt-get --simulate`` would upgrade or remove."""
    upgraded = re.findall(r"^Inst (\S+) \[", simulation, re.MULTILINE)
    removed = re.findall(r"^Remv (\S+)", simulation, re.MULTILINE)
    return sorted({*upgraded, *removed})


def manual_commands(distribution: Distribution, packages: Sequence[str]) -> str:
    """Return the commands that a person would type on this platform, one a line."""
    start = (
        "sudo systemctl enable --now docker"
        if Path("/run/systemd/system").is_dir()
        else "sudo dockerd &"
    )
    group = "sudo usermod -aG docker $USER   # then log in again"
    if distribution.id in ("debian", "ubuntu"):
        if needs_newer_release(distribution):
            return "\n".join(
                ["sudo python3 -m nox -s engine   # Debian 12's docker.io is too old", group]
            )
        install = f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
        lines = ["sudo apt-get update", install] if packages else []
        return "\n".join([*lines, start, group])
    if sys.platform == "darwin":
        return "brew install --cask docker && open -a Docker"
    if distribution.id == "fedora":
        names = "moby-engine docker-buildx docker-compose"
        return "\n".join([f"sudo dnf install {names}", start, group])
    return "see https://docs.docker.com/engine/install/ for this platform"


def _install_directly(packages: Sequence[str]) -> None:
    say(f"engine: installing {', '.join(packages)}")
    _install(packages)


def _install_from_trixie(packages: Sequence[str]) -> None:
    """Install ``packages`` as trixie has them, through an apt configuration used only here.

    The extra package source lives in a temporary folder and is gone afterwards.
    """
    say(f"engine: downloading {', '.join(packages)} of Debian 13 (Debian 12's are too old)")
    with tempfile.TemporaryDirectory(prefix="jina-engine-") as name:
        folder = Path(name)
        # apt's download helper runs as the user _apt.
        folder.chmod(0o755)
        archives = folder / "archives"
        for needed in (folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
            needed.mkdir(parents=True)
        archives.mkdir()
        site = target_sites()["Debian"]
        source = folder / "sources.list"
        source.write_text(
            f"deb [signed-by={DEBIAN_KEYRING}] {site} trixie main\n", encoding="utf-8"
        )
        options = [
            f"-oDir::Etc::SourceList={source}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::Cache={folder / 'cache'}",
            "-oAPT::Sandbox::User=root",
        ]
        run_apt([*options, "update"])
        run_apt([*options, "download", *packages], folder=archives)
        say("engine: installing them")
        _install([str(path) for path in sorted(archives.glob("*.deb"))])


def _install(packages: Sequence[str]) -> None:
    """Install packages (names or .deb files), refusing to upgrade or remove anything."""
    arguments = ["install", "--yes", "--no-install-recommends", *packages]
    changes = parse_changes(run_apt(["--simulate", *arguments]))
    if changes:
        raise ToolError(
            f"installing {', '.join(packages)} would upgrade or remove {', '.join(changes)}; "
            "nothing was changed. Install a Docker Engine yourself: "
            "https://docs.docker.com/engine/install/"
        )
    run_apt(arguments)


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


def _advice(problems: Iterable[str], distribution: Distribution, packages: Sequence[str]) -> str:
    commands = manual_commands(distribution, packages).replace("\n", "\n    ")
    return f"{'; '.join(problems)}. To mend it:\n    {commands}"


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
        raise ToolError(_advice(engine.problems, distribution, packages))
    say(f"engine: {'; '.join(engine.problems)}")
    if packages:
        run_apt(["update"])
        if needs_newer_release(distribution):
            _install_from_trixie(packages)
        else:
            _install_directly(packages)
    if not _answers():
        start()
    engine = probe()
    if engine.problems:
        raise ToolError(_advice(engine.problems, distribution, []))
    return engine
