"""The toy as a server: its parts, put together, on a port of this machine, any free one for 0."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self, TypeVar

from tests.support.server import Server
from tests.support.toy.cohere import ToyCohere
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.fields import ToyFields
from tests.support.toy.forms import ToyForms
from tests.support.toy.front import ToyFront
from tests.support.toy.identity import ToyIdentity
from tests.support.toy.inputs import ToyInputs
from tests.support.toy.metrics import ToyMetrics
from tests.support.toy.model import ToyModel
from tests.support.toy.request import ToyRequest
from tests.support.toy.routes import ToyRoutes
from tests.support.toy.sides import ToySides
from tools.facts.models import RETRIEVAL, Model

Part = TypeVar("Part")


class ToyServer:
    """Serves the toy, as a context manager; ``fault`` is a subclass of one of its parts."""

    def __init__(
        self,
        model: Model,
        fault: type[object] | None = None,
        *,
        synthetic: bool = True,
        api_key: str | None = None,
        task: str = RETRIEVAL,
        port: int = 0,
    ) -> None:
        def part(right: type[Part]) -> type[Part]:
            """Return the class of a part: the fault where it is one of this, the right one else."""
            return fault if fault is not None and issubclass(fault, right) else right

        self.model = model
        self.synthetic = synthetic
        self.task = task
        self.front = part(ToyFront)(api_key)
        self.metrics = part(ToyMetrics)()
        self.identity = part(ToyIdentity)(model, synthetic=synthetic, task=task)
        toy = part(ToyModel)(model)
        self.embeddings = part(ToyEmbeddings)(
            self.identity,
            toy,
            part(ToyInputs)(toy),
            part(ToySides)(task),
            part(ToyFields)(model.matryoshka),
            part(ToyForms)(),
            self.metrics,
        )
        cohere = part(ToyCohere)(self.embeddings)
        self.routes = part(ToyRoutes)(self.front, self.embeddings, cohere)
        self._http = _Listener(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def described(self, model_file: Path | None = None) -> Server:
        """Return what the checks want to know of this server."""
        return Server(
            base_url=f"http://127.0.0.1:{self._http.server_port}",
            model=self.model,
            model_file=model_file,
            api_key=self.front.key,
            synthetic=self.synthetic,
            quantisation="Q8_0",
            bare=False,
            task=self.task,
        )


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128  # many clients connect at once


def _handler(server: ToyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer goes out at once: its second packet must not wait for the first one's receipt.
        disable_nagle_algorithm = True
        wbufsize = -1

        def _do(self) -> None:
            request = ToyRequest(self)
            answer = server.routes.handle(request)
            server.metrics.answered(request.path, answer.status)
            if isinstance(answer.body, str):
                kind, text = "text/plain", answer.body
            else:
                kind, text = "application/json", json.dumps(answer.body, ensure_ascii=False)
            content = server.front.encoded(text)
            headers = {
                "Content-Type": kind,
                "Content-Length": str(len(content)),
                **answer.headers,
                **server.front.headers(request.path, request.headers),
            }
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
            request.drop()

        do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest shows what matters."""

    return Handler
