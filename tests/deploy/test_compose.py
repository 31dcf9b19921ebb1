"""The chart sets what the compose files set."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.rendered import rendered
from tests.unit.serving.test_compose import COMPOSE, CUDA, default
from tools.facts.models import load_models
from tools.facts.paths import COMPOSE_FILE

MODELS = load_models()


def compose_environment(model: str) -> dict[str, str]:
    """What compose sets where a person sets nothing."""
    environment: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())["services"][model][
        "environment"
    ]
    return {name: default(value) for name, value in environment.items() if value is not None}


def mebibytes(limit: str) -> str:
    """A limit of compose's as Kubernetes writes it."""
    return default(limit).replace("m", "Mi")


@pytest.mark.parametrize("model", MODELS.models)
def test_a_model_is_served_as_compose_serves_it(model: str) -> None:
    service = COMPOSE["services"][model]
    made = rendered({"model": model})
    assert made.environment == {**compose_environment(model), "JINA_DRAIN_SECONDS": "25"}
    assert made.server.get("args", []) == service.get("command", [])
    assert made.server["resources"]["limits"]["memory"] == mebibytes(service["mem_limit"])
    assert made.server["image"] == default(service["image"])


@pytest.mark.parametrize("model", MODELS.models)
def test_a_gpu_is_used_as_compose_uses_it(model: str) -> None:
    service = CUDA["services"][model]
    made = rendered({"model": model, "gpu": {"enabled": True}})
    on_cpu = rendered({"model": model}).environment
    assert made.environment == {**on_cpu, **service["environment"]}
    limits = made.server["resources"]["limits"]
    assert limits["memory"] == mebibytes(service["mem_limit"])
    assert limits["nvidia.com/gpu"] == "1"
    assert made.server["image"] == default(service["image"])


def test_the_container_is_closed_as_composes_is() -> None:
    server, made = COMPOSE["x-server"], rendered()
    security = made.server["securityContext"]
    assert security["readOnlyRootFilesystem"] is server["read_only"]
    assert security["capabilities"]["drop"] == server["cap_drop"]
    assert security["allowPrivilegeEscalation"] is False
    (tmp,) = (each for each in made.pod["volumes"] if each["name"] == "tmp")
    assert f"/tmp:size={tmp['emptyDir']['sizeLimit'].lower()[:-1]},mode=1777" in server["tmpfs"]
