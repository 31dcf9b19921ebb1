"""The chart says what the catalogue says, and its schema knows every value that it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import nox
import pytest
import yaml

import noxfile
from tools.chart.facts import FILE, chart_facts
from tools.chart.variants import OLDEST, load_variants
from tools.facts.images import load_images, local_name
from tools.facts.models import load_models
from tools.facts.paths import CHART, COMPOSE_FILE, MONITORING_COMPOSE_FILE, ROOT

MODELS = load_models()
CHART_FILE = yaml.safe_load((CHART / "Chart.yaml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
RULES = CHART / "files" / "rules.yaml"
SERVER = ROOT / "images" / "patches" / "files" / "tools" / "server"


def test_the_facts_are_those_of_the_catalogue() -> None:
    assert FILE.read_text() == chart_facts(MODELS), "`python -m tools.chart.facts` writes them"


class Session:
    """A nox session that notes what it would run."""

    def __init__(self, *posargs: str) -> None:
        self.posargs = posargs
        self.ran: list[str] = []

    def run(self, *arguments: str, **_: object) -> None:
        self.ran.append(arguments[2])


def test_new_pins_are_copied_to_where_they_are_needed_and_proposed_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(noxfile, "python", lambda _: "python")
    session = Session()
    noxfile.pins(session)
    assert session.ran == ["tools.origins.pins", "tools.chart.facts", "tools.images.monitoring"]
    proposed = (noxfile.WORKFLOWS / "pins.yml").read_text()
    for file in (FILE, MONITORING_COMPOSE_FILE):
        assert f"{file.relative_to(ROOT)}\n" in proposed


def test_a_file_whose_hash_only_the_hub_knows_has_none() -> None:
    files = yaml.safe_load(chart_facts(MODELS))["models"]["nano"]["files"]
    assert files["F16"] == {"name": "v5-nano-retrieval-F16.gguf"}
    assert files["Q8_0"]["mebibytes"] * 2**20 >= (MODELS.models["nano"].files["Q8_0"].bytes or 0)


def test_names_and_versions_are_the_projects() -> None:
    images = load_images()
    assert VALUES["image"]["repository"] == images.repository
    assert local_name(images, images.images["cpu"]) == f"{images.repository}:cpu"
    assert local_name(images, images.images["cuda"]) == f"{images.repository}:cuda"
    version = nox.project.load_toml(noxfile.PROJECT)["project"]["version"]
    assert (CHART_FILE["version"], CHART_FILE["appVersion"]) == (version, version)
    assert CHART_FILE["kubeVersion"] == f">={OLDEST}.0-0"


def objects(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, with where it is; conditions only add to what is there."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        yield where, schema
    for key in ("properties", "definitions"):
        for name, each in schema.get(key, {}).items():
            yield from objects(each, f"{where}.{name}")
    yield from objects(schema.get("items"), f"{where}[]")


def test_the_schema_is_closed_on_every_level() -> None:
    """Free are only names that are not ours: those of labels, annotations and nodes."""
    of_others = {
        where
        for where, schema in objects(SCHEMA)
        if schema["additionalProperties"] == {"type": "string"}
    }
    assert of_others == {
        ".selector.matchLabels",
        ".ingress.annotations",
        ".monitoring.serviceMonitor.labels",
        ".monitoring.rules.labels",
        ".monitoring.dashboard.labels",
        ".nodeSelector",
    }
    for where, schema in objects(SCHEMA):
        assert where in of_others or schema["additionalProperties"] is False, where


def on_one_side_only(values: Any, schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """The keys that only the values have, or only the schema."""
    if isinstance(values, dict) and "properties" in schema:
        described = schema["properties"]
        for key in values.keys() ^ described.keys():
            yield f"{where}.{key}"
        for key in values.keys() & described.keys():
            yield from on_one_side_only(values[key], described[key], f"{where}.{key}")


def test_every_value_is_described_and_has_a_default_but_two_and_the_settings() -> None:
    different = set(on_one_side_only(VALUES, SCHEMA))
    settings = {f".settings.{name}" for name in SCHEMA["properties"]["settings"]["properties"]}
    assert different == settings | {".weights.source", ".weights.download.runAsUser"}


def test_models_and_quantisations_are_the_catalogues() -> None:
    assert set(SCHEMA["properties"]["model"]["enum"]) == set(MODELS.models)
    quantisations = {name for model in MODELS.models.values() for name in model.files}
    assert set(SCHEMA["properties"]["quantisation"]["enum"]) == quantisations
    assert VALUES["quantisation"] == MODELS.default_quantisation
    rendered = {
        (each.values.get("model", "nano"), each.values.get("quantisation", "Q8_0"))
        for each in load_variants()
    }
    assert rendered >= {("nano", "Q8_0"), ("small", "Q8_0"), ("small", "Q4_K_M"), ("nano", "F16")}


def test_the_settings_are_those_that_compose_passes_on() -> None:
    """But for what the chart has values of its own for."""
    environment = yaml.safe_load(COMPOSE_FILE.read_text())["x-environment"]
    passed_on = {name for name, value in environment.items() if value is None}
    own = {"LLAMA_API_KEY", "LLAMA_ARG_API_KEY_FILE", "JINA_DRAIN_SECONDS"}
    assert set(SCHEMA["properties"]["settings"]["properties"]) == (passed_on - own) | {
        "LLAMA_ARG_CTX_SIZE",
        "LLAMA_ARG_N_PARALLEL",
    }


def test_it_waits_as_long_for_the_end_as_compose() -> None:
    grace = yaml.safe_load(COMPOSE_FILE.read_text())["x-server"]["stop_grace_period"]
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    (margin,) = re.findall(r"add \.Values\.preStopSeconds \.Values\.drainSeconds (\d+)", helpers)
    settings = (SERVER / "jina-settings.cpp").read_text()
    (drain,) = re.findall(r'number\("JINA_DRAIN_SECONDS", (\d+),', settings)
    assert VALUES["drainSeconds"] == int(drain)
    assert f"{VALUES['drainSeconds'] + int(margin)}s" == grace


def test_alerts_and_scaling_ask_for_metrics_that_the_server_has() -> None:
    source = (SERVER / "jina-requests.cpp").read_text()
    has = {f"jina_{name}" for name in re.findall(r'head\("(\w+)"', source)}
    asked = set()
    for path in (RULES, CHART / "templates" / "autoscaling.yaml"):
        asked |= set(re.findall(r"\b(jina_\w+?)(?:_bucket)?\{", path.read_text()))
    assert len(asked) > 4
    assert asked <= has
    (reasons,) = re.findall(r"for \(const char \* reason : \{(.*?)\}\)", source)
    assert '"draining"' in reasons


def test_every_metric_of_the_rules_has_the_selector_that_the_chart_replaces() -> None:
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        metrics = re.findall(r"\b(?:jina_\w+|llamacpp:\w+|up)\b(.{0,19})", rule["expr"])
        assert metrics, rule["expr"]
        for selector in metrics:
            assert selector.startswith('{job="embeddings"'), rule["expr"]
