"""The image's healthcheck asks where the server really listens, and whether it is ready."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.boots import MODELS, each_model, tiny, variables
from tests.support.containers import logs, started, wait_for_health, with_model
from tools.engine.docker import run_docker

CUDA_SOCKET = Path(__file__).parent.parent / "support" / "cuda_socket.c"

#: Options of docker run, and arguments of the server.
PLACES = {
    "port": ([], ["--port", "9000"]),
    "any port": ([], ["--port", "0"]),
    "port by variable": (variables({"LLAMA_ARG_PORT": "9000"}), []),
    "argument over variable": (variables({"LLAMA_ARG_PORT": "9000"}), ["--port", "9001"]),
    "loopback": ([], ["--host", "127.0.0.1"]),
    "IPv6": (["--sysctl", "net.ipv6.conf.lo.disable_ipv6=0"], ["--host", "::1"]),
    "prefix": ([], ["--api-prefix", "/x"]),
    "prefix and port": (variables({"LLAMA_ARG_API_PREFIX": "/x/y"}), ["--port", "9000"]),
    "unix socket": (["--tmpfs", "/run/jina:mode=1777"], ["--host", "/run/jina/server.sock"]),
    "key": (variables({"LLAMA_API_KEY": "a-secret"}), []),
    "init": (["--init"], []),
    "init and any port": (["--init"], ["--port", "0"]),
    "read-only": (["--read-only"], []),
}


@pytest.mark.parametrize("place", PLACES)
@each_model
def test_healthy_wherever_it_listens(patched: str, model: str, place: str) -> None:
    options, arguments = PLACES[place]
    options = [*with_model(tiny(MODELS[model])), *options]
    with started(patched, options=options, arguments=arguments) as container:
        wait_for_health(container, "healthy")
        check = run_docker(["exec", container, "/app/healthcheck"], timeout=30)
        assert check.returncode == 0, check.stdout + check.stderr


def test_a_socket_of_the_gpu_driver_is_not_the_servers(patched: str, tmp_path: Path) -> None:
    """CUDA's driver listens in the server's process, which no machine without a GPU shows."""
    library = tmp_path / "cuda_socket.so"
    command = ["gcc", "-shared", "-fPIC", str(CUDA_SOCKET), "-o", str(library)]
    subprocess.run(command, check=True, timeout=60)
    options = [
        *with_model(tiny(MODELS["nano"])),
        *("--volume", f"{library}:/cuda_socket.so:ro"),
        *variables({"LD_PRELOAD": "/cuda_socket.so"}),
    ]
    with started(patched, options=options) as container:
        wait_for_health(container, "healthy")
        assert "setting: address = http://0.0.0.0:8080\n" in logs(container)


def test_unhealthy_where_nothing_listens(patched: str) -> None:
    """The check's own proof: in a container of the image in which no server runs."""
    run = ["run", "--rm", "--network", "none", "--entrypoint", "/app/healthcheck", patched]
    assert run_docker(run, timeout=60).returncode != 0


def test_unhealthy_where_the_server_does_not_answer(patched: str) -> None:
    """A server that is stopped in its tracks still listens."""
    with started(patched, options=with_model(tiny(MODELS["nano"]))) as container:
        wait_for_health(container, "healthy")
        run_docker(["kill", "--signal", "STOP", container], timeout=30)
        check = run_docker(["exec", container, "/app/healthcheck"], timeout=60)
        assert check.returncode != 0
        run_docker(["kill", "--signal", "CONT", container], timeout=30)
        assert run_docker(["exec", container, "/app/healthcheck"], timeout=60).returncode == 0
