"""HTTP with time limits, the machine's own proxies and trust, and two kinds of failure.

They are told apart by type. :class:`Unreachable`: nobody answered, so another origin may be
tried. :class:`Refused`: somebody answered, and the answer is no, which no other origin may cover
up.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import httpx

from tools.common.errors import ToolError

Result = TypeVar("Result")

#: Seconds to wait for the next bytes of an answer, and for a connection to each of a host's
#: addresses, of which the large hosts have several.
_TIMEOUT = httpx.Timeout(30, connect=5)
#: Seconds to wait before each retry of something that broke off or answered 5xx. The count
#: starts again whenever a transfer gets further than it was.
PAUSES = (1.0, 2.0, 4.0)
#: Answers that say "not now" rather than "no".
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
#: What h11, by which httpx reads, says of an answer that does not begin as one of HTTP does.
_NO_HTTP = "illegal status line"


class Unreachable(ToolError):  # noqa: N818 - named for what happened, as a person reads it
    """Nobody answered: no such host, no connection, no TLS, a timeout, only 5xx, or cut off."""


class Refused(ToolError):  # noqa: N818
    """The server answered, and the answer is no.

    ``status`` is the HTTP status, ``challenge`` what a 401 says about how to be let in.
    """

    def __init__(self, text: str, status: int, challenge: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.challenge = challenge


class Interrupted(Exception):  # noqa: N818
    """The transfer broke off, or the server is busy: worth another attempt."""


@contextmanager
def client(ca_file: str | None = None, *, proxies: bool = True) -> Iterator[httpx.Client]:
    """Yield an HTTP client that follows redirects and is never without a time limit.

    Proxies come from the environment as httpx reads them, unless ``proxies`` is false. Trusted
    are httpx's own authorities or those of SSL_CERT_FILE, the system's, and those in ``ca_file``.
    """
    trust = httpx.create_ssl_context()
    trust.load_default_certs()
    if ca_file:
        try:
            trust.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ToolError(f"cannot read the certificates in {ca_file}: {error}") from None
    with httpx.Client(
        verify=trust, timeout=_TIMEOUT, follow_redirects=True, trust_env=proxies
    ) as made:
        yield made


def get(http: httpx.Client, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """Return the whole answer to a GET of something small; a busy server is asked again.

    Raises Unreachable or Refused.
    """
    return retried(lambda: _get_once(http, url, headers))


def retried(attempt: Callable[[], Result], reached: Callable[[], int] = lambda: 0) -> Result:
    """Return what ``attempt`` returns; while it is Interrupted, it is made again after a pause.

    The count of PAUSES starts again whenever ``reached`` says more than ever before. Raises
    Unreachable when they are used up.
    """
    failures, furthest = 0, reached()
    while True:
        try:
            return attempt()
        except Interrupted as error:
            if reached() > furthest:
                failures, furthest = 0, reached()
            if failures == len(PAUSES):
                raise Unreachable(str(error)) from None
            time.sleep(PAUSES[failures])
            failures += 1


def _get_once(http: httpx.Client, url: str, headers: Mapping[str, str]) -> httpx.Response:
    with translated(url):
        response = http.get(url, headers=headers)
        check_status(response)
        return response


def check_status(response: httpx.Response) -> None:
    """Raise Interrupted for an answer worth waiting for and Refused for any other that is no."""
    status = response.status_code
    if status in _BUSY:
        raise Interrupted(f"{host_of(str(response.url))} answered {status}")
    if status >= 400:
        challenge = response.headers.get("WWW-Authenticate", "")
        raise Refused(f"{shown(str(response.url))} answered {status}", status, challenge)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn httpx's exceptions into ours.

    No contact is Unreachable, a cut-off is Interrupted, and an answer of no use is a ToolError.
    """
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise ToolError(f"{shown(url)}: {error}") from None
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise Unreachable(_reason(error)) from None
    except httpx.TransportError as error:
        if isinstance(error, httpx.RemoteProtocolError) and _NO_HTTP in str(error):
            host = host_of(str(error.request.url))
            raise ToolError(
                f"{host} answers with something that is no HTTP; check the address, and the "
                "proxies in between"
            ) from None
        raise Interrupted(_reason(error)) from None


def _reason(error: httpx.TransportError) -> str:
    """Say in a few words why there was no answer, naming the host that was asked last."""
    host = host_of(str(error.request.url))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return f"could not resolve {host}"
        if isinstance(cause, ConnectionRefusedError):
            return f"{host} refused the connection"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with {host}: {getattr(cause, 'verify_message', '') or cause.reason}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return f"{host} did not answer in time"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy gives no way to {host}: {error}"
    return f"{host} broke off: {error}"


def host_of(url: str) -> str:
    """Return the host of a URL, with its port where that is not the usual one."""
    parsed = httpx.URL(url)
    return f"{parsed.host}:{parsed.port}" if parsed.port else parsed.host


def shown(url: str) -> str:
    """Return a URL as it may be printed: without the credentials or signature it may carry."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None))
    except httpx.InvalidURL:
        return url.rpartition("@")[2].partition("?")[0]
