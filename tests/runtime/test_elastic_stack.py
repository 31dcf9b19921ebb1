"""Elasticsearch beside the server, as far as that goes without Elastic's registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.file_server import closed_port
from tools.common.errors import ToolError
from tools.facts.models import Model, load_models
from tools.search.elasticsearch import boot
from tools.search.elasticsearch.boot import COMPOSE_FILE, ELASTICSEARCH, KIBANA, pull, stack_of
from tools.serving.profile import clean_environment

MODELS = load_models().models.values()


def composed(model: Model) -> dict[str, Any]:
    """The whole stack with a model, as docker compose makes it of its files."""
    stack = stack_of(model, clean_environment())
    return dict(json.loads(stack.ask("--profile", KIBANA, "config", "--format", "json")))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_all_of_the_stack_is_on_one_network_and_on_loopback(model: Model, engine: None) -> None:
    stack = composed(model)
    assert set(stack["services"]) == {model.name, ELASTICSEARCH, KIBANA}
    assert len(stack["networks"]) == 1
    for service in stack["services"].values():
        assert set(service["networks"]) == set(stack["networks"])
        assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_kibana_finds_elasticsearch_and_it_the_server(model: Model, engine: None) -> None:
    """The names and ports that the console files and Kibana's setting use."""
    services = composed(model)["services"]
    assert services[model.name]["ports"][0]["target"] == 8080
    assert services[KIBANA]["environment"]["ELASTICSEARCH_HOSTS"] == "http://elasticsearch:9200"
    assert services[ELASTICSEARCH]["ports"][0]["target"] == 9200


def test_a_registry_that_cannot_be_reached_is_said(
    engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real docker, and in the place of Elastic's registry a port where nobody answers."""
    stack = yaml.safe_load(COMPOSE_FILE.read_text())
    services = {ELASTICSEARCH: stack["services"][ELASTICSEARCH]}
    services[ELASTICSEARCH]["image"] = f"127.0.0.1:{closed_port()}/elasticsearch:1"
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump({"services": services, "volumes": stack["volumes"]}))
    monkeypatch.setattr(boot, "COMPOSE_FILE", file)
    with pytest.raises(ToolError, match=r"docker\.elastic\.co.* --es-url"):
        pull([ELASTICSEARCH])
