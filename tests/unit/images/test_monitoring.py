"""compose/monitoring cannot read the catalogue, and Grafana is not there to say what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.support.dashboard import TEXT as DASHBOARD
from tools.common.errors import ToolError
from tools.facts.images import FROM_REGISTRY, load_images
from tools.facts.models import load_models
from tools.facts.paths import MONITORING_COMPOSE_FILE, ROOT
from tools.images.monitoring import with_images

IMAGES = load_images()
FOLDER = MONITORING_COMPOSE_FILE.parent
TEXT = MONITORING_COMPOSE_FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
DIGEST = f"sha256:{'a' * 64}"


def mounts(service: str) -> dict[str, str]:
    """Where the files of the checkout are in a service's container."""
    binds = (each for each in SERVICES[service]["volumes"] if isinstance(each, dict))
    return {each["target"]: each["source"] for each in binds}


def test_the_images_are_those_of_the_catalogue() -> None:
    assert {image.name for image in IMAGES.monitoring} == set(SERVICES)
    assert with_images(TEXT, IMAGES) == TEXT, "`python -m tools.images.monitoring` writes them"


def test_a_digest_is_written_and_one_that_is_not_known_leaves_the_tag() -> None:
    first, *others = IMAGES.monitoring
    for digest, suffix in ((DIGEST, f"@{DIGEST}"), (FROM_REGISTRY, "")):
        images = replace(IMAGES, monitoring=(replace(first, digest=digest), *others))
        written = yaml.safe_load(with_images(TEXT, images))["services"]
        variable = f"JINA_{first.name.upper()}_IMAGE"
        assert written[first.name]["image"] == f"${{{variable}:-{first.reference}{suffix}}}"
        assert [written[each.name] for each in others] == [SERVICES[each.name] for each in others]


def test_an_image_that_compose_has_not_is_a_fault() -> None:
    images = replace(IMAGES, monitoring=(replace(IMAGES.monitoring[0], name="loki"),))
    with pytest.raises(ToolError, match=r"has no image \$\{JINA_LOKI_IMAGE"):
        with_images(TEXT, images)


def test_the_stack_is_closed_on_loopback_and_only_where_it_is_asked_for() -> None:
    assert COMPOSE["include"] == ["../compose.yaml"]
    for service in SERVICES.values():
        assert service["profiles"] == ["monitoring"]
        assert [port.startswith("127.0.0.1:") for port in service["ports"]] == [True]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    temporary = yaml.safe_load((FOLDER / "temporary.yaml").read_text(encoding="utf-8"))
    assert set(temporary["services"]) == set(SERVICES)


def test_prometheus_looks_for_every_model_under_the_job_of_the_rules() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "embeddings"
    assert job["dns_sd_configs"][0]["names"] == [*load_models().models]
    (rules,) = config["rule_files"]
    folder = "/etc/prometheus"
    assert set(mounts("prometheus")) == {
        f"{folder}/{name}"
        for name in ("prometheus.yml", rules, job["authorization"]["credentials_file"])
    }


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    provisioning = FOLDER / mounts("grafana")["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert SERVICES["prometheus"]["ports"][0].endswith(":9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "files.yaml").read_text())[
        "providers"
    ]
    shown = f"{provider['options']['path']}/dashboard.json"
    assert (FOLDER / mounts("grafana")[shown]).read_text(encoding="utf-8") == DASHBOARD


def test_the_documentation_names_every_variable_with_its_default() -> None:
    page = (ROOT / "docs" / "operate" / "monitoring.md").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(\w+):?-([^}]*)\}", TEXT))
    assert len(variables) == 5
    for name, default in variables:
        # An image's is a digest, which stands in the catalogue alone.
        own = name.endswith("_IMAGE")
        value = r"that of `images/images\.toml`" if own else f"`{re.escape(default)}`"
        assert re.search(rf"^\| `{name}` +\| {value} ", page, re.MULTILINE), name
