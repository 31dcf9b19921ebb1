"""A proxy in front of a registry that sees every request and can hold one up."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Headers that belong to one connection (RFC 9110, section 7.6.1), and the one that is set anew.
_OF_THE_CONNECTION = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An engine with containerd's image store tries TLS first, and takes to HTTP only where the
    # answer begins as one of HTTP does; before 1.0, answers to what is not understood did not.
    default_request_version = "HTTP/1.0"
    server: Gate

    def _pass_on(self) -> None:
        body = self._body()
        if not self.server.let_through(self.command, self.path):
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            # Some of docker's headers, such as Accept, are there several times.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                if key.lower() not in _OF_THE_CONNECTION:
                    upstream.putheader(key, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            upstream.close()
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _OF_THE_CONNECTION:
                self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

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


class Gate(ThreadingHTTPServer):
    """Passes everything on to the registry at port ``upstream``, but for what it holds up."""

    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.manifests_put: list[str] = []
        self.prefix = ""
        self.action: Callable[[], object] = lambda: None
        self.then_pass = True
        self.reached = threading.Event()
        self.opened = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def at(self, prefix: str, action: Callable[[], object], *, then_pass: bool = True) -> None:
        """Do something when a manifest is to be stored whose tag or digest begins with ``prefix``.

        Afterwards the request reaches the registry, or is cut off.
        """
        self.reached.clear()
        self.opened.clear()
        self.prefix, self.action, self.then_pass = prefix, action, then_pass

    def hold(self, prefix: str, *, then_pass: bool) -> None:
        """Let the storing of such a manifest wait for :meth:`open`."""
        self.at(prefix, self.opened.wait, then_pass=then_pass)

    def open(self) -> None:
        """Let go of what is held, and do nothing more."""
        self.prefix = ""
        self.opened.set()

    def let_through(self, method: str, path: str) -> bool:
        """Note a request and do what is to be done; whether it may reach the registry."""
        if method != "PUT" or "/manifests/" not in path:
            return True
        name = path.rpartition("/")[2]
        self.manifests_put.append(name)
        if not self.prefix or not name.startswith(self.prefix):
            return True
        self.reached.set()
        self.action()
        return self.then_pass

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that are killed are what this is for."""


@contextmanager
def gate(upstream: int) -> Iterator[Gate]:
    server = Gate(upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.open()
        server.shutdown()
        thread.join()
        server.server_close()
