"""The stack of compose/monitoring, with Prometheus from Debian's packages and no Grafana."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.recipes.program import SEARCH
from tests.support.client import Client
from tests.support.dashboard import QUERIES
from tests.support.waiting import wait_until
from tools.engine.compose import Compose
from tools.facts.models import load_models
from tools.facts.paths import MONITORING_COMPOSE_FILE, TEMPORARY_COMPOSE_FILE
from tools.serving.profile import clean_environment, model_environment, temporary, tidied, up
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

NANO = load_models().models["nano"]
KEY = "one-of-the-keys"


@contextmanager
def booted_stack(image: str, prometheus: str, **variables: str) -> Iterator[tuple[str, str]]:
    """Boot nano and Prometheus; where the two answer."""
    file = ensure_synthetic(models_dir(), NANO, "tiny", "Q8_0")
    beside = MONITORING_COMPOSE_FILE.with_name(TEMPORARY_COMPOSE_FILE.name)
    compose = temporary(
        Compose(
            files=(MONITORING_COMPOSE_FILE, TEMPORARY_COMPOSE_FILE, beside),
            project=f"jina-embeddings-v5-monitoring-{secrets.token_hex(4)}",
            profile=NANO.name,
            environment={
                **clean_environment(),
                **model_environment(NANO, file, synthetic=True),
                "JINA_IMAGE": image,
                "JINA_PORT": "",
                "JINA_PROMETHEUS_IMAGE": prometheus,
                "JINA_PROMETHEUS_PORT": "",
                **variables,
            },
        )
    )
    with tidied(compose):
        running = up(compose, NANO)
        compose.ask("up", "--detach", "--wait", "--pull", "never", "prometheus")
        yield running.base_url, f"http://{compose.address('prometheus', 9090)}"


def asked(prometheus: str, path: str, **parameters: str) -> Any:
    """What Prometheus' API gives."""
    answer = httpx.get(f"{prometheus}/api/v1/{path}", params=parameters, trust_env=False).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def targets(prometheus: str) -> list[tuple[str, str, str]]:
    """The servers that Prometheus knows: name, health, and what was wrong the last time."""
    return [
        (each["labels"]["instance"], each["health"], each["lastError"])
        for each in asked(prometheus, "targets", state="active")["activeTargets"]
    ]


def test_a_server_without_a_key_is_found_and_shown(image: str, front_image: str) -> None:
    with booted_stack(image, front_image) as (server, prometheus):
        wait_until(lambda: targets(prometheus) == [("nano", "up", "")], "nano is scraped")
        (group,) = asked(prometheus, "rules")["groups"]
        assert len(group["rules"]) == 7
        with Client(server, None) as client:
            client.embed([SEARCH])

        def shown(query: str) -> bool:
            return bool(asked(prometheus, "query", query=query)["result"])

        for query in QUERIES:
            wait_until(partial(shown, query.sent("embeddings", "1m")), query.expression)


def test_a_key_is_sent_from_its_file(image: str, front_image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "key"
    file.write_text("another\n")
    variables = {"LLAMA_API_KEY": f"a-first-one,{KEY}", "JINA_METRICS_KEY_FILE": str(file)}
    with booted_stack(image, front_image, **variables) as (_, prometheus):
        refused = ("nano", "down", "server returned HTTP status 401 Unauthorized")
        wait_until(lambda: targets(prometheus) == [refused], "another key is refused")
        file.write_text(f"{KEY}\n")
        wait_until(lambda: targets(prometheus) == [("nano", "up", "")], "the key is taken")
