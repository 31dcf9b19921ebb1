"""Boot a profile as a process on this machine, wait until it is healthy, and stop it again.

The process gets what a container of the profile gets: the image's variables, those of the compose
files, and their arguments. Only the address and the model's folder are this machine's.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tools.common.console import loud
from tools.common.errors import ToolError
from tools.common.files import temporary_folder
from tools.common.processes import describe_end, tail
from tools.common.waiting import wait_for
from tools.facts.models import Model, load_models
from tools.facts.paths import COMPOSE_FILE
from tools.images.recipe import CONTEXT
from tools.serving.compose_file import Service, read_service
from tools.serving.health import BOOT_SECONDS
from tools.serving.profile import STOP_SECONDS, clean_environment, model_environment

#: Where compose mounts the folder of the model files.
_MODELS = "/models/"

#: What the server says once the model is loaded, in either form of its log; with port 0, the port
#: that it was given.
_ADDRESS = re.compile(
    r'(?:setting: address = |"name":"address","value":")(http://127\.0\.0\.1:\d+)'
)
_HEALTHY = "healthy"

#: How the sanitizers' reports begin, those of leaks at the end included (GCC's libsanitizer).
_SANITIZER = re.compile(r"^.*(?:ERROR: \w+Sanitizer: |: runtime error: ).*$", re.MULTILINE)


@dataclass(frozen=True)
class NativeServer:
    """A healthy server: where it answers, its process, and the file that holds its log."""

    base_url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        """Return all that it has printed so far."""
        return _read_log(self.log_file)


def image_environment() -> dict[str, str]:
    """Return what images/Dockerfile sets for llama.cpp and OpenMP in every container."""
    text = (CONTEXT / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"\b((?:LLAMA_ARG|GOMP)_\w+)=(\S+)", text))


def profile_service(
    model: Model,
    file: Path,
    *,
    synthetic: bool,
    overrides: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
) -> Service:
    """Return the variables and arguments of ``model``'s profile on this machine.

    ``overrides`` are further compose files, ``variables`` further compose variables.
    """
    shell = {
        **clean_environment(),
        **model_environment(model, file, synthetic=synthetic),
        **(variables or {}),
    }
    service = read_service(model.name, (COMPOSE_FILE, *overrides), shell)
    environment = {
        **image_environment(),
        # An argument of the image's build.
        "JINA_MODELS": load_models().served,
        **service.environment,
        "LLAMA_ARG_HOST": "127.0.0.1",
        "LLAMA_ARG_PORT": "0",
    }
    inside = environment["LLAMA_ARG_MODEL"]
    environment["LLAMA_ARG_MODEL"] = str(file.parent.resolve() / inside.removeprefix(_MODELS))
    return Service(environment, service.command)


@contextmanager
def native_booted(
    server: Path,
    model: Model,
    file: Path,
    *,
    synthetic: bool,
    overrides: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[NativeServer]:
    """Boot ``model``'s profile on ``file`` with the binary ``server``, on a free loopback port.

    The process is ended at the end, whatever happened. Raises ToolError when it does not become
    healthy: at once when it ends, else after BOOT_SECONDS, with the end of its log; and when a
    build with sanitizers has reported anything by its end.
    """
    service = profile_service(
        model, file, synthetic=synthetic, overrides=overrides, variables=variables
    )
    with temporary_folder("jina-native-") as folder:
        log_file = folder / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [str(server), *service.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=server.parent,
                env={**clean_environment(), **service.environment},
                # Its own group: Ctrl-C is for the program that boots it, which then ends it.
                start_new_session=True,
            )
        try:
            yield _wait_until_healthy(process, log_file)
        finally:
            _stop(process)
        said = _read_log(log_file)
        if report := _SANITIZER.search(said):
            raise ToolError(f"a sanitizer found a fault:\n{said[report.start() :][:4000]}")


def _wait_until_healthy(process: subprocess.Popen[bytes], log_file: Path) -> NativeServer:
    health = ""

    def look() -> NativeServer | None:
        nonlocal health
        # Asked first: what it printed before it ended is then all in the log.
        code = process.poll()
        said = _read_log(log_file)
        if code is not None:
            raise ToolError(
                f"the server ended before it was healthy, with {describe_end(code)}:\n{tail(said)}"
            )
        address = _ADDRESS.search(said)
        health = _health(address.group(1)) if address else "it did not say where it listens"
        if address and health == _HEALTHY:
            return NativeServer(address.group(1), process, log_file)
        return None

    server = wait_for(look, BOOT_SECONDS, 0.1)
    if server is None:
        raise ToolError(
            f"the server was not healthy within {BOOT_SECONDS} seconds:\n"
            f"{tail(_read_log(log_file))}\nlast health check: {health}"
        )
    return server


def _health(base_url: str) -> str:
    """Return what the server says of its health."""
    try:
        response = httpx.get(f"{base_url}/health", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return repr(error)
    return _HEALTHY if response.status_code == 200 else f"{response.status_code} {response.text}"


def _read_log(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process, even where Ctrl-C comes while it is waited for."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        loud(f"the server did not end within {STOP_SECONDS} seconds, and is killed")
    finally:
        process.kill()
        process.wait()
