"""A real registry, Debian's docker-registry, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.file_server import closed_port
from tools.common.apt import run_apt
from tools.common.cache import cache_dir, locked
from tools.common.errors import ToolError

USER, PASSWORD = "tester", "not-a-secret"
#: That password as `htpasswd -B` writes it.
_HTPASSWD = f"{USER}:$2a$04$GYSBrRY6AEq7zlEgYl9hMujQYkRMIzjqN7C6qSBIpGB5FlmSAVZne\n"
#: Seconds in which the program, which takes a fraction of one, must listen.
_START_SECONDS = 60.0


def registry_program() -> Path:
    """Return the registry's program: an installed one, or the package's, unpacked in the cache.

    Raises ToolError where there is neither the program nor the package.
    """
    if found := shutil.which("docker-registry"):
        return Path(found)
    folder = cache_dir() / "docker-registry"
    program = folder / "usr" / "bin" / "docker-registry"
    with locked(folder):
        if not program.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _unpack_package(folder)
    return program


def _unpack_package(folder: Path) -> None:
    """Download the package and unpack it; nothing is installed, so no service is started."""
    if shutil.which("apt-get") is None:
        raise ToolError("there is no docker-registry on PATH, and no apt-get to fetch it")
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        run_apt(["download", "docker-registry"], folder=partial)
    except ToolError:
        if os.geteuid() != 0:
            raise
        run_apt(["update"])  # a bare machine has no package lists
        run_apt(["download", "docker-registry"], folder=partial)
    package = next(partial.glob("*.deb"))
    subprocess.run(["dpkg-deb", "--extract", str(package), str(partial)], check=True)
    partial.rename(folder)


class LocalRegistry:
    """The registry's process, its storage folder and its log."""

    def __init__(self, program: Path, folder: Path, *, login: bool = False) -> None:
        self.program = program
        self.folder = folder
        self.login = login
        self.port = closed_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *, read_only: bool = False) -> None:
        """Start it and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        config.write_text(self._config(read_only))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", str(config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                httpx.get(f"http://{self.host}/v2/", trust_env=False)
            except httpx.TransportError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "the registry does not listen"
                time.sleep(0.05)
            else:
                return

    def _config(self, read_only: bool) -> str:
        lines = [
            "version: 0.1",
            "log: {level: warn}",
            f"http: {{addr: '{self.host}', secret: 'of-the-tests'}}",
            "storage:",
            f"  filesystem: {{rootdirectory: '{self.folder / 'storage'}'}}",
            f"  maintenance: {{readonly: {{enabled: {str(read_only).lower()}}}}}",
        ]
        if self.login:
            passwords = self.folder / "htpasswd"
            passwords.write_text(_HTPASSWD)
            lines.append(f"auth: {{htpasswd: {{realm: tests, path: '{passwords}'}}}}")
        return "\n".join(lines) + "\n"

    def stop(self) -> None:
        """End it at once, as a machine that fails does; its storage stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, *, read_only: bool = False) -> None:
        self.stop()
        self.start(read_only=read_only)


@contextmanager
def local_registry(program: Path, folder: Path, *, login: bool = False) -> Iterator[LocalRegistry]:
    """Run a registry with its storage in ``folder``; with ``login``, only for USER."""
    made = LocalRegistry(program, folder, login=login)
    try:
        made.start()
        yield made
    finally:
        made.stop()
