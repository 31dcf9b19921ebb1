"""Several servers behind HAProxy: held to compose.yaml, the catalogue and their page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.unit.serving.test_compose import COMPOSE, default
from tools.facts.models import load_models
from tools.facts.paths import ROOT

MODELS = load_models().models
FOLDER = ROOT / "deploy" / "haproxy"
CONFIG = (FOLDER / "haproxy.cfg").read_text(encoding="utf-8")
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
OPERATE = ROOT / "docs" / "operate"
PAGE = (OPERATE / "replicas.md").read_text(encoding="utf-8")


class Loader(yaml.SafeLoader):
    """Reads compose's own tag, too."""


Loader.add_constructor("!reset", lambda *_: None)
STACK: dict[str, Any] = yaml.load(TEXT, Loader)  # noqa: S506  (a safe loader with one tag more)


def setting(pattern: str) -> str:
    """The one place of the configuration that the pattern finds."""
    (found,) = re.findall(pattern, CONFIG)
    return str(found)


@pytest.mark.parametrize("model", MODELS)
def test_each_model_has_a_haproxy_of_its_own(model: str) -> None:
    haproxy = STACK["services"][f"{model}-haproxy"]
    assert haproxy["profiles"] == COMPOSE["services"][model]["profiles"] == [model]
    assert haproxy["environment"]["SERVICE"] == model
    # Several servers cannot have one port, and HAProxy takes theirs.
    assert STACK["services"][model]["ports"] is None
    assert haproxy["ports"][0] == COMPOSE["x-server"]["ports"][0]


def test_there_are_no_other_services() -> None:
    haproxies = {f"{model}-haproxy" for model in MODELS}
    assert set(STACK["services"]) == haproxies | set(MODELS)
    temporary = yaml.safe_load((FOLDER / "temporary.yaml").read_text(encoding="utf-8"))
    assert set(temporary["services"]) == haproxies


def test_haproxy_is_closed_as_the_servers_are() -> None:
    for name in ("read_only", "cap_drop", "security_opt", "restart", "logging"):
        assert STACK["x-haproxy"][name] == COMPOSE["x-server"][name]


@pytest.mark.parametrize("model", MODELS)
def test_a_server_gets_as_many_requests_as_it_has_slots(model: str) -> None:
    """By the same variable, with the same default, which is the catalogue's."""
    given = STACK["x-haproxy-environment"]["JINA_PARALLEL"]
    assert given == COMPOSE["services"][model]["environment"]["LLAMA_ARG_N_PARALLEL"]
    assert int(default(given)) == MODELS[model].serve.parallel
    assert setting(r'maxconn "(.+)" maxqueue') == "${JINA_PARALLEL}"


def test_what_the_configuration_reads_is_given() -> None:
    read = set(re.findall(r"\$\{?([A-Z]\w+)", CONFIG))
    assert read == set(STACK["services"]["nano-haproxy"]["environment"])


def test_the_servers_own_limit_of_the_queue_is_never_reached() -> None:
    queue = int(default(STACK["x-haproxy-environment"]["JINA_QUEUE"]))
    assert int(setting(r"maxqueue (\d+)")) > 100 * queue


def test_refusals_are_whole_answers_in_openais_form() -> None:
    found = re.findall(
        r"http-error status (\d+) content-type application/json string '(.*)'", CONFIG
    )
    assert {status for status, _ in found} == {"404", "408", "502", "503", "504"}
    for _, text in found:
        answer = json.loads(text)
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert answer["error"]["code"] == answer["error"]["type"]
        assert answer["detail"] == answer["error"]["message"]


def test_the_page_names_every_variable_with_its_default() -> None:
    settings = (OPERATE / "settings.md").read_text(encoding="utf-8")
    lines = [*PAGE.splitlines(), *settings.splitlines()]
    for name, value in set(re.findall(r"\$\{(\w+):?-([^}]*)\}", TEXT)):
        row = next((line for line in lines if line.startswith(f"| `{name}`")), None)
        assert row, f"no page has a row for {name}"
        assert (f"`{value}`" if value not in ("", "/dev/null") else "not set") in row


def test_the_page_says_what_the_configuration_says() -> None:
    most = setting(r"server-template server (\d+) ")
    assert f"up to {most} servers" in PAGE
    assert int(setting(r"tune.bufsize (\d+)")) == 2 * 2**20
    assert "2 MB" in PAGE
    assert default(STACK["x-haproxy"]["image"]).startswith("haproxy:3.0.")
