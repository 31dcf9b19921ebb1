"""What stands in front of the server or beside it, from Debian's packages, in a container.

`python -m tests.recipes.front` builds the image and prints its name.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.containers import inspect, started
from tests.support.waiting import wait_until
from tools.common.cache import locked
from tools.engine.docker import engine_platform
from tools.facts.images import load_images
from tools.images.stage import build_folder
from tools.origins.choose import Choice, resolve_base

CONTEXT = Path(__file__).parent / "front"
IMAGE = "jina-embeddings-v5-front:trixie"
#: The name by which the Dockerfile calls its base.
BASE = "debian:trixie-slim"


def build_front() -> str:
    """Build the image from the first origin of the base that answers, and return its name.

    Raises ToolError when the base cannot be had or the build fails.
    """
    base = resolve_base(load_images(), Choice(), engine_platform())
    with locked(IMAGE):
        build_folder("front", CONTEXT, {BASE: f"docker-image://{base.value}"}, tag=IMAGE)
    return IMAGE


def free_port() -> int:
    """Return a port of this machine at which nobody listens now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def authority(base_url: str) -> str:
    """Return the host and port of an address."""
    return urlsplit(base_url).netloc


@contextmanager
def running(
    image: str, files: Mapping[str, str], command: Sequence[str], port: int, folder: Path
) -> Iterator[str]:
    """Run a program of the image with its files in /recipe; where it answers.

    It is in this machine's own network, as a program beside the server would be.
    """
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    options = ["--network", "host", "--user", "root", "--volume", f"{folder}:/recipe:ro"]
    with started(image, options=options, arguments=command) as container:

        def answers() -> bool:
            assert inspect(container)["State"]["Running"], "it has ended"
            with socket.socket() as trial:
                return trial.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, f"{command[0]} at port {port}")
        yield f"http://127.0.0.1:{port}"


class Backend:
    """A server that answers late, and sees when its connections are ended."""

    def __init__(self, seconds: float) -> None:
        #: For each path, the seconds between its answer and the end of its connection.
        self.idle: dict[str, float] = {}
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            answered: float | None = None

            def do_GET(self) -> None:
                if self.path != "/ready":
                    threading.Event().wait(seconds)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                self.answered = time.monotonic()

            def finish(self) -> None:
                super().finish()
                if self.answered is not None:
                    backend.idle[self.path] = time.monotonic() - self.answered

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self.base_url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Backend:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


if __name__ == "__main__":
    print(build_front())
