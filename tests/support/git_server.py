"""A git server on loopback that speaks the smart protocol, as GitHub does, and what it serves."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: Who commits in the tests.
_IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.org")


def git(folder: Path, *arguments: str) -> str:
    """Run a git command that must succeed and return what it printed."""
    command = ["git", *_IDENTITY, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


def has_git_server() -> bool:
    """Whether git's program for servers is here, which some distributions package by itself."""
    folder = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    return (Path(folder.stdout.strip()) / "git-http-backend").exists()


def commit_tree(tree: Path, repository: Path, branch: str) -> str:
    """Make a bare repository whose branch has one commit, of the whole ``tree``; the commit."""
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet", "--bare", "--initial-branch", branch)
    # As on GitHub, any commit may be asked for, not only the tips of branches.
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    # Nobody has to wait, on a busy machine, while what loopback need not save is compressed.
    git(repository, "config", "core.compression", "0")
    git(repository, "config", "pack.window", "0")
    inside = (f"--git-dir={repository}", f"--work-tree={tree}")
    # Also what the tree's own .gitignore would leave out.
    git(tree, *inside, "add", "--all", "--force")
    git(tree, *inside, "commit", "--quiet", "--message", "llama.cpp")
    git(repository, "repack", "-a", "-d", "--quiet")
    return git(repository, "rev-parse", branch)


class _Handler(BaseHTTPRequestHandler):
    server: GitServer

    def _answer(self) -> None:
        body = self._body()
        if self.command == "POST" and self.server.broken:
            self._send(self.server.broken, {"Content-Type": "text/html"}, b"<html></html>\n")
        else:
            self._pass_on(body)

    do_GET = do_POST = _answer  # noqa: N815

    def _pass_on(self, body: bytes) -> None:
        """Let `git http-backend` answer, as git-http-backend(1) has it: a CGI program."""
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        # It exits with an error also where it has said one to the client.
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._send(int(headers.pop("Status", "200 OK").split()[0]), headers, content)

    def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        pass


class GitServer(ThreadingHTTPServer):
    """Serves the bare repositories in ``folder``: ``FOLDER/llama.cpp`` at ``URL/llama.cpp``."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        #: The status of a page that answers everything after the beginning; 0: all is right.
        self.broken = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away."""


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    server = GitServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
