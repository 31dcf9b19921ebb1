"""Every variant is valid and restricted; what is not is refused, with the place."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.rendered import NEWEST, PVC, VARIANTS, rendered
from tools.chart.__main__ import check
from tools.chart.helm import render
from tools.chart.restricted import faults
from tools.chart.validate import kubernetes_versions, validate
from tools.chart.variants import OLDEST, Variant
from tools.common.errors import ToolError

#: Values, and what the refusal says.
REFUSED = [
    ({"modle": "nano"}, "additional properties 'modle' not allowed"),
    ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
    ({"gpu": {"memory": 1}}, "at '/gpu': additional properties 'memory' not allowed"),
    (
        {"monitoring": {"rules": {"enable": True}}},
        "at '/monitoring/rules': additional properties 'enable' not allowed",
    ),
    (
        {"settings": {"JINA_MAX_INPUT": 1}},
        "at '/settings': additional properties 'JINA_MAX_INPUT' not allowed",
    ),
    (
        {"networkPolicy": {"from": [{"podSelector": {"labels": {}}}]}},
        "at '/networkPolicy/from/0/podSelector': additional properties 'labels' not allowed",
    ),
    ({"tolerations": [{"name": "x"}]}, "at '/tolerations/0': additional properties 'name'"),
    ({"model": "large"}, "at '/model': value must be one of 'nano', 'small'"),
    ({"cpus": 1.5}, "at '/cpus': got number, want integer"),
    ({"cpus": 0}, "at '/cpus': minimum: got 0, want 1"),
    ({"memory": "2G"}, "at '/memory': '2G' does not match pattern"),
    ({"drainSeconds": "25s"}, "at '/drainSeconds': got string, want integer"),
    ({"weights": {}}, "at '/weights': missing property 'source'"),
    ({"weights": {"source": "hostPath"}}, "at '/weights/source': value must be one of"),
    ({"weights": {"source": "pvc"}}, "at '/weights/pvc/claimName': minLength"),
    (
        {"weights": {"source": "image", "image": {"reference": "models:nano"}}},
        "at '/weights/image/reference': 'models:nano' does not match pattern",
    ),
    ({"weights": {"source": "download"}}, "at '/weights/download/image': minLength"),
    (
        {"weights": {"source": "download", "download": {"image": "curl", "runAsUser": 0}}},
        "at '/weights/download/runAsUser': minimum: got 0, want 1",
    ),
    ({"weights": {**PVC["weights"], "file": "../x.gguf"}}, "at '/weights/file': '../x.gguf'"),
    ({"autoscaling": {"by": "waiting"}}, "at '/autoscaling/prometheus': minLength"),
    ({"ingress": {"enabled": True}}, "at '/ingress/host': minLength"),
    # What a schema cannot say.
    (
        {"autoscaling": {"by": "cpu", "minReplicas": 5}},
        "autoscaling.minReplicas: 5 is more than maxReplicas, 4",
    ),
    ({"quantisation": "Q4_K_M"}, "quantisation: nano has no Q4_K_M, only F16, Q8_0"),
    (
        {
            "quantisation": "F16",
            "weights": {"source": "download", "download": {"image": "curl"}},
        },
        "which that of v5-nano-retrieval-F16.gguf is not",
    ),
    (
        {"weights": {"source": "download", "file": "our.gguf", "download": {"image": "curl"}}},
        "which that of our.gguf is not",
    ),
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=lambda each: str(each)[:60])
def test_wrong_values_are_refused_with_their_place(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError) as refused:
        rendered(values)
    assert said in str(refused.value)


def test_the_versions_are_all_from_the_oldest_on() -> None:
    first = int(OLDEST.partition(".")[2])
    found = kubernetes_versions()
    assert found == [f"1.{minor}" for minor in range(first, first + len(found))]
    assert len(found) >= 13


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_valid_and_restricted(name: str) -> None:
    """In its oldest Kubernetes and the newest; `nox -s chart` has taken all between."""
    variant = VARIANTS[name]
    for version in (variant.kubernetes, NEWEST):
        for document in render(variant.values, version):
            validate(document, version)
            assert faults(document, version) == []


def test_an_image_as_a_volume_is_refused_where_kubernetes_has_none() -> None:
    values = VARIANTS["weights-in-an-image"].values
    with pytest.raises(ToolError, match=r"needs Kubernetes 1\.31 or newer, this is v1\.30"):
        render(values, "1.30")
    for document in render(values, "1.31"):
        validate(document, "1.31")


def place(document: Any, *path: str | int) -> Any:
    for key in path:
        document = document[key]
    return document


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", ()),
        ("Deployment", ("spec", "template", "spec", "containers", 0)),
        ("Deployment", ("spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet")),
        ("Deployment", ("spec", "template", "spec", "volumes", 0)),
        ("Service", ("spec",)),
        ("NetworkPolicy", ("spec", "ingress", 0)),
        ("PodDisruptionBudget", ("spec",)),
        ("Ingress", ("spec", "rules", 0)),
        ("ServiceMonitor", ("spec", "endpoints", 0)),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0)),
    ],
    ids=str,
)
def test_an_unknown_field_is_a_fault_wherever_it_is(kind: str, path: tuple[str | int, ...]) -> None:
    document = deepcopy(rendered(VARIANTS["everything"].values).one(kind))
    for version in (OLDEST, NEWEST):
        validate(document, version)
    place(document, *path)["unknown"] = {}
    for version in (OLDEST, NEWEST):
        with pytest.raises(ToolError, match=f"^{kind} .*'unknown' was unexpected"):
            validate(document, version)


def test_a_field_of_a_newer_kubernetes_is_a_fault_of_an_older() -> None:
    document = rendered(VARIANTS["weights-in-an-image"].values).one("Deployment")
    validate(document, "1.31")
    with pytest.raises(ToolError, match=r"Kubernetes 1\.30: spec\.template\.spec\.volumes\.0"):
        validate(document, "1.30")


def test_the_verb_says_which_variant_is_wrong() -> None:
    with pytest.raises(ToolError, match=r"^mine: (?s:.*)at '/cpus'"):
        check(Variant("mine", {**PVC, "cpus": 0}, NEWEST), set())


def test_the_verb_refuses_what_is_not_restricted() -> None:
    variant = VARIANTS["weights-in-an-image"]
    with pytest.raises(ToolError, match=r'^mine: .*"restricted" of Kubernetes 1\.31 refuses it'):
        check(Variant("mine", variant.values, "1.31"), set())
