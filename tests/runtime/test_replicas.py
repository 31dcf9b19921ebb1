"""Several servers behind HAProxy: no request is lost while they are replaced, or when one dies."""

from __future__ import annotations

import secrets
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.recipes.front import free_port, running
from tests.recipes.program import block, changed
from tests.support.boots import variables
from tests.support.client import Client, describe, vectors
from tests.support.containers import docker, inspect, logs
from tests.support.crowds import (
    PROMPT_SECONDS,
    Outcome,
    all_at_once,
    in_flight,
    kept_busy,
    post,
)
from tests.support.requirements import need
from tests.support.samples import Samples
from tests.support.waiting import wait_until
from tests.support.work import texts
from tools.engine.compose import Compose
from tools.facts.models import load_models
from tools.facts.paths import COMPOSE_FILE, ROOT, TEMPORARY_COMPOSE_FILE
from tools.serving.profile import clean_environment, model_environment, temporary, tidied
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

NANO = load_models().models["nano"]
FOLDER = ROOT / "deploy" / "haproxy"
CONFIG = (FOLDER / "haproxy.cfg").read_text(encoding="utf-8")
PAGE = "operate/replicas.md"
FILES = (
    COMPOSE_FILE,
    FOLDER / "compose.yaml",
    TEMPORARY_COMPOSE_FILE,
    FOLDER / "temporary.yaml",
)
#: What compose gives HAProxy.
SETTINGS = {
    "SERVICE": "nano",
    "JINA_PARALLEL": "16",
    "JINA_QUEUE": "256",
    "JINA_QUEUE_SECONDS": "60",
}
CLIENTS = 16
#: So much work that each server has several requests in hand at any moment.
ASKED = [texts(2, 40, seed) for seed in range(CLIENTS)]
#: So many clients that all servers are full while one is replaced.
CROWD = 48
#: Requests that must have been answered before and after what happens to a server.
SOME = 40

pytestmark = pytest.mark.xdist_group("replicas")


@dataclass(frozen=True)
class Replicas:
    """A project of several servers behind HAProxy, and where HAProxy answers."""

    compose: Compose
    base_url: str
    metrics_url: str

    def servers(self) -> list[str]:
        """The containers of the servers that run."""
        return self.compose.ask("ps", "--quiet", "nano").split()

    def samples(self) -> Samples:
        """What HAProxy's exporter says."""
        return Samples.read(httpx.get(f"{self.metrics_url}/metrics", trust_env=False).text)

    def in_use(self) -> int:
        """How many servers HAProxy sends requests to."""
        return int(self.samples().total("haproxy_backend_active_servers", proxy="servers"))

    def retries(self) -> float:
        """How often HAProxy has sent a request again."""
        return self.samples().total("haproxy_backend_retry_warnings_total", proxy="servers")

    def working(self) -> int:
        """How many requests the servers work on."""
        return int(self.samples().total("haproxy_backend_current_sessions", proxy="servers"))

    def waiting(self) -> int:
        """How many requests wait for a server."""
        return int(self.samples().total("haproxy_server_current_queue", proxy="servers"))

    def bring_up(self, count: int = 2) -> None:
        """Let so many servers run, and HAProxy know all of them."""
        words = ("up", "--detach", "--wait", "--no-build", "--pull", "never")
        self.compose.ask(*words, "--scale", f"nano={count}")
        wait_until(lambda: self.in_use() == count, f"HAProxy uses {count} servers")


Boot = Callable[..., Replicas]


def address_of(container: str) -> str:
    """Host and port at which this machine reaches a container that publishes none."""
    (network,) = inspect(container)["NetworkSettings"]["Networks"].values()
    return f"{network['IPAddress']}:8080"


@contextmanager
def booted(image: str, front_image: str, settings: Mapping[str, str]) -> Iterator[Replicas]:
    """Boot two servers behind HAProxy."""
    file = ensure_synthetic(models_dir(), NANO, "tiny", "Q8_0")
    environment = {
        **clean_environment(),
        **model_environment(NANO, file, synthetic=True),
        "JINA_IMAGE": image,
        "JINA_HAPROXY_IMAGE": front_image,
        "JINA_PORT": "",
        "JINA_HAPROXY_METRICS_PORT": "",
        # The servers share this machine's cores.
        "LLAMA_ARG_THREADS": "1",
        **settings,
    }
    project = f"jina-embeddings-v5-replicas-{secrets.token_hex(4)}"
    compose = temporary(Compose(FILES, project, "nano", environment))
    with tidied(compose):
        compose.ask("up", "--detach", "--wait", "--no-build", "--pull", "never")
        yield Replicas(
            compose,
            f"http://{compose.address('nano-haproxy', 8080)}",
            f"http://{compose.address('nano-haproxy', 8404)}",
        )


@pytest.fixture(scope="module")
def project(patched: str, front_image: str) -> Iterator[Replicas]:
    with booted(patched, front_image, {}) as replicas:
        yield replicas


@pytest.fixture
def replicas(project: Replicas) -> Replicas:
    """The project with two servers, whatever the test before did to them."""
    project.bring_up()
    return project


@pytest.fixture(scope="module")
def small_queue(patched: str, front_image: str) -> Iterator[Replicas]:
    """Two servers that work on one request each; four more may wait, for a second."""
    settings = {"JINA_PARALLEL": "1", "JINA_QUEUE": "4", "JINA_QUEUE_SECONDS": "1"}
    with booted(patched, front_image, settings) as replicas:
        replicas.bring_up()
        yield replicas


@pytest.fixture(scope="module")
def certificate(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file as HAProxy wants them."""
    available = shutil.which("openssl") is not None
    need(pytestconfig, "openssl", available=available, why="the command makes a certificate")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=a test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-days", "1", "-keyout", str(file), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
    )
    return file


@pytest.fixture
def ask(replicas: Replicas) -> Callable[[int], httpx.Response]:
    """Asks for a client's texts, and fails unless the vectors are those that a server makes."""
    with Client(f"http://{address_of(replicas.servers()[0])}") as client:
        own = [client.embed(each) for each in ASKED]

    def ask(number: int) -> httpx.Response:
        which = number % len(ASKED)
        response = post(replicas.base_url, input=ASKED[which])
        assert response.status_code == 200, describe(response)
        assert np.array_equal(vectors(response.json()), own[which]), "other vectors"
        return response

    return ask


def assert_refused(response: httpx.Response) -> None:
    """Expect HAProxy's refusal: in OpenAI's form, with when to try again and an id."""
    assert response.status_code == 503, describe(response)
    error = response.json()["error"]
    assert error["message"] == response.json()["detail"]
    assert error["type"] == error["code"] == "overloaded_error"
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["X-Request-Id"]


def some_more(outcomes: list[Outcome]) -> None:
    """Wait until further requests have had their answers."""
    wanted = len(outcomes) + SOME
    wait_until(lambda: len(outcomes) >= wanted, "further answers")


def assert_all_answered(outcomes: list[Outcome]) -> None:
    """Expect every answer, and say of how many."""
    lost = [outcome for outcome in outcomes if outcome.status != 200]
    slowest = max(outcome.seconds for outcome in outcomes)
    print(f"{len(outcomes)} requests, {len(lost)} lost, slowest {slowest:.2f} s")
    assert not lost, lost[:3]


@pytest.mark.parametrize("clients", [CLIENTS, CROWD])
def test_the_servers_are_replaced_and_no_request_is_lost(
    replicas: Replicas, ask: Callable[[int], httpx.Response], clients: int
) -> None:
    """By the commands of the page; the new servers have another setting."""
    before, retries = replicas.servers(), replicas.retries()
    environment = {
        **(replicas.compose.environment or {}),
        "COMPOSE_FILE": ":".join(map(str, FILES)),
        "COMPOSE_PROJECT_NAME": str(replicas.compose.project),
        "COMPOSE_PROFILES": "nano",
        "JINA_MAX_INPUTS": "100",
    }
    commands = ["bash", "-euc", block(PAGE, "Replace the servers", "bash")]
    with kept_busy(clients, ask) as outcomes:
        some_more(outcomes)
        done = subprocess.run(
            commands, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        some_more(outcomes)
    assert_all_answered(outcomes)
    after = replicas.servers()
    assert len(after) == 2
    assert not set(before) & set(after)
    for server in after:
        assert "JINA_MAX_INPUTS=100" in inspect(server)["Config"]["Env"]
    assert replicas.retries() > retries, "no server refused anything: too little work for this test"


def test_a_server_is_killed_and_no_request_is_lost(
    replicas: Replicas, ask: Callable[[int], httpx.Response]
) -> None:
    killed, _ = replicas.servers()
    retries = replicas.retries()
    with kept_busy(CLIENTS, ask) as outcomes:
        some_more(outcomes)
        docker("kill", "--signal", "KILL", killed)
        wait_until(lambda: replicas.in_use() == 1, "HAProxy has seen it")
        some_more(outcomes)
    assert_all_answered(outcomes)
    assert replicas.retries() > retries, "it had nothing in hand: too little work for this test"


def has_loaded(haproxy: str, times: int) -> bool:
    return logs(haproxy).count("Loading success") == times


def test_the_configuration_is_read_anew_and_no_request_is_lost(
    replicas: Replicas, ask: Callable[[int], httpx.Response]
) -> None:
    haproxy = replicas.compose.container("nano-haproxy")
    with kept_busy(CLIENTS, ask) as outcomes:
        for loaded in (2, 3, 4):
            some_more(outcomes)
            docker("kill", "--signal", "USR2", haproxy)
            # A signal that comes while it still loads is lost.
            wait_until(partial(has_loaded, haproxy, loaded), "the configuration is read anew")
        some_more(outcomes)
    assert_all_answered(outcomes)


def test_too_much_is_refused_at_once_and_nothing_hangs(small_queue: Replicas) -> None:
    work = texts(30, 40)
    outcomes = all_at_once(48, lambda _: post(small_queue.base_url, input=work))
    refused = [each for each in outcomes if each.status != 200]
    answered = len(outcomes) - len(refused)
    slowest = max(each.seconds for each in outcomes)
    print(f"{answered} answered, {len(refused)} refused, slowest {slowest:.2f} s")
    # Those that are worked on; the four that wait have their turn, or a second.
    assert answered >= 2
    assert refused
    for each in refused:
        assert each.response is not None, each
        assert_refused(each.response)
        assert each.seconds < 1 + PROMPT_SECONDS
    assert all(
        len(vectors(each.response.json())) == len(work)
        for each in outcomes
        if each.status == 200 and each.response
    )


def test_nobody_waits_longer_than_the_queue_allows(small_queue: Replicas) -> None:
    """Both servers have work for far more than a second, so that four others wait in vain."""
    work = texts(800, 40)
    with in_flight(2, lambda _: post(small_queue.base_url, input=work)) as worked_on:
        wait_until(lambda: small_queue.working() == 2, "both servers work")
        with in_flight(4, lambda _: post(small_queue.base_url, input="a text")) as waiting:
            wait_until(lambda: small_queue.waiting() == 4, "four wait, and it can be seen")
        assert not any(each.done() for each in worked_on), "too little work for this test"
    for outcome in [each.result() for each in waiting]:
        assert outcome.response is not None, outcome
        assert_refused(outcome.response)
        assert 1 <= outcome.seconds < 1 + PROMPT_SECONDS
    assert_all_answered([each.result() for each in worked_on])


def test_ids_pass_through_or_are_made(replicas: Replicas) -> None:
    given = "one-id_of.mine"
    with Client(replicas.base_url) as client:
        for path, status in (("/v1/models", 200), ("/metrics", 404), ("/ready", 200)):
            answer = client.request("GET", path, headers={"X-Request-Id": given})
            assert (answer.status_code, answer.headers["X-Request-Id"]) == (status, given)
            made = client.request("GET", path, headers={"X-Request-Id": "no id"})
            assert len(made.headers["X-Request-Id"]) == 36
    log = logs(replicas.compose.container("nano-haproxy"))
    assert "request: GET /v1/models 200 server=server" in log
    assert f"id={given}" in log


def test_large_requests_pass_and_the_servers_limit_is_the_servers_to_say(
    replicas: Replicas,
) -> None:
    """Larger than what HAProxy holds, by a field that means nothing."""
    with Client(replicas.base_url) as client:
        fields = {"input": "a text", "user": "x" * 7_900_000}
        assert client.request("POST", "/v1/embeddings", json=fields).status_code == 200
        fields["user"] = "x" * 8_600_000
        answer = client.request("POST", "/v1/embeddings", json=fields)
        assert answer.status_code == 413, describe(answer)
        assert "bytes" in answer.json()["error"]["message"]


def test_without_any_server_it_says_so(replicas: Replicas) -> None:
    docker("kill", *replicas.servers())
    wait_until(lambda: replicas.in_use() == 0, "HAProxy has seen it")
    assert_refused(post(replicas.base_url, input="a text"))
    with Client(replicas.base_url) as client:
        assert client.request("GET", "/ready").status_code == 503


@pytest.mark.parametrize("variable", ["", "/run/certificate.pem"])
def test_haproxy_accepts_the_configuration(
    front_image: str, certificate: Path, variable: str
) -> None:
    """Without a warning, with a certificate and without one."""
    mounts = [f"{FOLDER}:/etc/haproxy:ro", f"{certificate}:/run/certificate.pem:ro"]
    docker(
        *("run", "--rm", "--user", "root"),
        *(word for mount in mounts for word in ("--volume", mount)),
        *variables({**SETTINGS, "JINA_CERTIFICATE": variable}),
        *(front_image, "haproxy", "-c", "-dW", "-f", "/etc/haproxy/haproxy.cfg"),
    )


def test_servers_on_several_machines_and_a_certificate(
    replicas: Replicas, front_image: str, certificate: Path, tmp_path: Path
) -> None:
    """The page's edit of the configuration, without compose."""
    port, metrics_port = free_port(), free_port()
    one, two = (address_of(each) for each in replicas.servers())
    lines = block(PAGE, "Servers on several machines", "text")
    lines = changed(changed(lines, "192.0.2.1:8080", one), "192.0.2.2:8080", two)
    (template,) = [line for line in CONFIG.splitlines() if "server-template" in line]
    text = changed(CONFIG, template + "\n", lines)
    text = changed(changed(text, "bind :8080", f"bind :{port}"), ":8404", f":{metrics_port}")
    text = changed(text, "/run/certificate.pem", "/recipe/certificate.pem")
    settings = [f"{name}={value}" for name, value in SETTINGS.items()]
    command = ["env", *settings, "JINA_CERTIFICATE=yes", "haproxy", "-W", "-f"]
    files = {"haproxy.cfg": text, "certificate.pem": certificate.read_text(encoding="utf-8")}
    with running(front_image, files, [*command, "/recipe/haproxy.cfg"], port, tmp_path) as url:
        trusted = ssl.create_default_context(cafile=certificate)
        with httpx.Client(
            base_url=url.replace("http://", "https://"), verify=trusted, trust_env=False
        ) as client:
            for _ in range(4):
                answer = client.post("/v1/embeddings", json={"input": "a text"})
                assert answer.status_code == 200, describe(answer)
        metrics = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics", trust_env=False)
        said = Samples.read(metrics.text)
        assert said.total("haproxy_backend_active_servers", proxy="servers") == 2
        for name in ("one", "two"):
            assert said.total("haproxy_server_sessions_total", proxy="servers", server=name) > 0
