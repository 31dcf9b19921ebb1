"""nginx and HAProxy in front of the server, as docs/operate/proxies.md sets them up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.recipes.conftest import Wanted
from tests.recipes.front import Backend, authority, free_port, running
from tests.recipes.program import SEARCH, TEXT, block, changed
from tests.support.client import Client
from tests.support.containers import docker
from tests.support.server import Server
from tests.support.waiting import wait_until
from tools.facts.paths import ROOT

PAGE = "operate/proxies.md"
#: More than the server takes, and less than the proxies stop at.
TOO_MUCH = 8_600_000
#: More than what nginx (60) and Debian's HAProxy (50) wait for an answer when nobody tells them.
SECONDS = 63


@dataclass(frozen=True)
class Proxy:
    """One proxy: its block of the page, where that listens, and how long it waits for an answer."""

    block: str
    file: str
    command: list[str]
    listens: tuple[str, str]
    answer: str

    def files(self, text: str, server: str, port: int) -> dict[str, str]:
        text = changed(text, "127.0.0.1:8080", authority(server))
        text = changed(text, self.listens[0], self.listens[1].format(port))
        return {self.file: text, **(MAIN if self.file == "site.conf" else {})}


#: What Debian's nginx.conf does: it includes the page's file.
MAIN = {"nginx.conf": "events {}\nhttp {\n    include /recipe/site.conf;\n}\n"}
NGINX = Proxy(
    block=block(PAGE, "nginx", "nginx"),
    file="site.conf",
    command=["nginx", "-c", "/recipe/nginx.conf", "-g", "daemon off;"],
    listens=("listen 80;", "listen 127.0.0.1:{};"),
    answer="proxy_read_timeout 600s",
)
HAPROXY = Proxy(
    block=block(PAGE, "HAProxy", "text"),
    file="haproxy.cfg",
    command=["haproxy", "-W", "-f", "/recipe/haproxy.cfg"],
    listens=("bind *:80", "bind 127.0.0.1:{}"),
    answer="timeout server 600s",
)

#: Boots a proxy in front of an address: by its block, or by that with something changed.
Boot = Callable[..., AbstractContextManager[str]]

EACH = pytest.mark.parametrize("proxy", [NGINX, HAPROXY], ids=["nginx", "haproxy"])


@pytest.fixture
def boot(front_image: str, tmp_path: Path) -> Boot:
    def boot(proxy: Proxy, server: str, text: str | None = None) -> AbstractContextManager[str]:
        port = free_port()
        files = proxy.files(text or proxy.block, server, port)
        return running(front_image, files, proxy.command, port, tmp_path)

    return boot


def seconds(setting: str) -> int:
    (number,) = re.findall(r"(\d+)s$", setting)
    return int(number)


def with_seconds(proxy: Proxy, setting: str, number: int) -> str:
    """The proxy's block with another number of seconds."""
    return changed(proxy.block, setting, setting.replace(f"{seconds(setting)}s", f"{number}s"))


@EACH
def test_sides_keys_and_ids_pass_through(
    boot: Boot, proxy: Proxy, patched: Server, wanted: Wanted
) -> None:
    with boot(proxy, patched.base_url) as url, Client(url, patched.api_key) as client:
        for path, text, judge in (
            ("/query/v1/embeddings", SEARCH, wanted.is_query),
            ("/document/v1/embeddings", TEXT, wanted.is_document),
        ):
            answer = client.request(
                "POST", path, json={"input": text}, headers={"X-Request-Id": "mine"}
            )
            judge(answer.json()["data"][0]["embedding"])
            assert answer.headers["X-Request-Id"] == "mine"


@EACH
def test_a_large_request_is_the_servers_to_judge(
    boot: Boot, proxy: Proxy, patched: Server, wanted: Wanted
) -> None:
    """Large by a field that means nothing, so that it takes no time to embed."""
    with boot(proxy, patched.base_url) as url, Client(url, patched.api_key) as client:
        fields = {"input": SEARCH, "input_type": "query", "user": "x" * 7_900_000}
        answer = client.request("POST", "/v1/embeddings", json=fields)
        wanted.is_query(answer.json()["data"][0]["embedding"])
        fields["user"] = "x" * TOO_MUCH
        answer = client.request("POST", "/v1/embeddings", json=fields)
        assert answer.status_code == 413
        assert answer.json()["error"]["message"]


def test_nginx_by_itself_stops_at_a_megabyte(boot: Boot, patched: Server) -> None:
    text = changed(NGINX.block, "client_max_body_size 9m;", "")
    with (
        boot(NGINX, patched.base_url, text) as url,
        Client(url, patched.api_key) as client,
    ):
        fields = {"input": SEARCH, "user": "x" * 1_100_000}
        answer = client.request("POST", "/v1/embeddings", json=fields)
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "text/html")


@EACH
def test_an_answer_that_takes_long_is_not_cut(boot: Boot, proxy: Proxy) -> None:
    """It waits longer than it would by itself, and the page's setting is what decides."""
    ask = partial(httpx.get, timeout=2 * SECONDS, trust_env=False)
    with Backend(SECONDS) as backend, boot(proxy, backend.base_url) as url:
        assert ask(url + "/long").status_code == 200


@EACH
def test_the_pages_setting_is_what_cuts(boot: Boot, proxy: Proxy) -> None:
    text = with_seconds(proxy, proxy.answer, 1)
    with Backend(SECONDS) as backend, boot(proxy, backend.base_url, text) as url:
        begun = time.monotonic()
        answer = httpx.get(url + "/long", timeout=SECONDS, trust_env=False)
        assert answer.status_code == 504
        assert time.monotonic() - begun < SECONDS / 2


def test_nginx_ends_idle_connections_before_the_server_does(boot: Boot) -> None:
    setting = "keepalive_timeout 60s"
    settings = (ROOT / "docs" / "operate" / "settings.md").read_text(encoding="utf-8")
    (ours,) = re.findall(r"`JINA_IDLE_SECONDS` +\| `(\d+)`", settings)
    assert seconds(setting) < int(ours)
    # That it is this setting which ends them: with another number they end by that.
    text = with_seconds(NGINX, setting, 2)
    with Backend(0) as backend, boot(NGINX, backend.base_url, text) as url:
        assert httpx.get(url, trust_env=False).status_code == 200
        wait_until(lambda: "/" in backend.idle, "nginx ends the connection")
    assert 1 < backend.idle["/"] < seconds(setting) / 2


def test_haproxy_keeps_no_idle_connections(boot: Boot) -> None:
    """Its client stays, so that it has no other reason to end the connection."""
    with (
        Backend(0) as backend,
        boot(HAPROXY, backend.base_url) as url,
        httpx.Client(trust_env=False) as client,
    ):
        assert client.get(url).status_code == 200
        wait_until(lambda: "/" in backend.idle, "HAProxy ends the connection")
    assert backend.idle["/"] < 1


def test_the_versions_are_those_of_the_page(front_image: str) -> None:
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    says = docker("run", "--rm", front_image, "sh", "-c", "nginx -v 2>&1; haproxy -v")
    for name, pattern in (
        ("nginx", r"nginx/(\d+\.\d+)"),
        ("HAProxy", r"HAProxy version (\d+\.\d+)"),
    ):
        (version,) = re.findall(pattern, says)
        assert f"for {name} {version}:" in page
