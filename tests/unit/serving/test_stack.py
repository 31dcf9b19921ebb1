"""What a person is told when compose cannot start a service.

The messages were recorded from Docker Engine 26.1, the last one of TAKEN composed after Docker 28's
source (libnetwork/portallocator).
"""

from __future__ import annotations

import pytest

from tools.facts.paths import ROOT
from tools.serving.profile import _PORTS, up_failure

ENDPOINT = (
    " Container x-elasticsearch-1  Starting\n"
    "Error response from daemon: driver failed programming external connectivity on endpoint "
    "x-elasticsearch-1 (3cc65ba79683): "
)
TAKEN = [
    "Error starting userland proxy: listen tcp4 127.0.0.1:{}: bind: address already in use",
    "Bind for 127.0.0.1:{} failed: port is already allocated",
    "Bind for :::{} failed: port is already allocated",
    "failed to bind host port for [::1]:{}:172.18.0.2:9200/tcp: address already in use",
    "failed to bind host port 127.0.0.1:{}/tcp: address already in use",
]


@pytest.mark.parametrize("said", TAKEN)
@pytest.mark.parametrize(
    ("port", "environment", "variable", "verb"),
    [
        ("8080", {}, "JINA_PORT", "nox -s down"),
        ("8090", {"JINA_PORT": "8090"}, "JINA_PORT", "nox -s down"),
        ("9200", {"JINA_PORT": ""}, "JINA_ES_PORT", "nox -s down"),
        ("9300", {"JINA_ES_PORT": "9300"}, "JINA_ES_PORT", "nox -s down"),
        ("5601", {"JINA_PORT": ""}, "JINA_KIBANA_PORT", "nox -s down"),
    ],
)
def test_a_port_that_is_taken_is_named_with_its_variable(
    said: str, port: str, environment: dict[str, str], variable: str, verb: str
) -> None:
    text = str(up_failure(ENDPOINT + said.format(port), environment))
    assert text.startswith(f"port {port} is taken. ")
    assert text.endswith(f"`{verb}` stops it; otherwise choose another port with {variable}")


def test_a_port_of_no_variable_is_shown_as_docker_says_it() -> None:
    text = str(up_failure(ENDPOINT + TAKEN[1].format(32801), {"JINA_PORT": ""}))
    assert "JINA_" not in text
    assert "127.0.0.1:32801 failed" in text


def test_the_ports_are_those_of_the_compose_files() -> None:
    files = [ROOT / "compose" / "compose.yaml", ROOT / "compose" / "elasticsearch" / "compose.yaml"]
    text = "".join(file.read_text() for file in files)
    for variable, (port, _) in _PORTS.items():
        assert f"${{{variable}-{port}}}" in text or f"${{{variable}:-{port}}}" in text


def test_a_host_without_the_container_toolkit_is_said() -> None:
    said = (
        " Container jina-embeddings-v5-nano-1  Starting\n"
        'Error response from daemon: could not select device driver "nvidia" with capabilities: '
        "[[gpu]]\n"
    )
    assert "container toolkit must be installed" in str(up_failure(said, {}))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "`nox -s engine`"),
        ("No such image: jina-embeddings-v5:cpu", "`nox -s build` makes it"),
        ("no configuration file provided", "could not start the service: no configuration file"),
    ],
)
def test_other_failures_say_what_to_do(said: str, meant: str) -> None:
    assert meant in str(up_failure(said, {}))
