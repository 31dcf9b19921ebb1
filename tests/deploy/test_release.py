"""What a release is made of, and what an upgrade changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.rendered import PVC, VARIANTS, Rendered, rendered, variant
from tools.facts.models import load_models

MODELS = load_models()


def selected(made: Rendered, by: Rendered) -> bool:
    """Whether one release's Service sends to the pods of another."""
    labels = made.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    return set(by.one("Service")["spec"]["selector"].items()) <= set(labels.items())


def in_an_image(digest: str) -> dict[str, Any]:
    return {"weights": {"source": "image", "image": {"reference": f"models@{digest}"}}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"model": "small"}),
        ({"model": "small"}, {"model": "small", "quantisation": "Q4_K_M"}),
        ({}, {"quantisation": "F16"}),
        ({}, {"weights": {**PVC["weights"], "file": "other.gguf"}}),
        (in_an_image("sha256:" + "a" * 64), in_an_image("sha256:" + "b" * 64)),
        ({}, {"settings": {"JINA_DIMENSIONS": 256}}),
        ({}, {"settings": {"JINA_TASK": "clustering"}}),
    ],
    ids=["model", "quantisation", "to F16", "file", "image of the weights", "dimensions", "task"],
)
def test_other_vectors_are_another_deployment_and_never_behind_the_same_service(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    old, new = rendered(before), rendered(after)
    assert selected(old, old)
    assert selected(new, new)
    assert not selected(old, new)
    assert not selected(new, old)
    assert old.one("Deployment")["metadata"]["name"] != new.one("Deployment")["metadata"]["name"]
    assert old.one("Service")["metadata"]["name"] == new.one("Service")["metadata"]["name"]


@pytest.mark.parametrize(
    "after",
    [
        {"replicas": 3, "cpus": 4, "memory": "4Gi"},
        {"image": {"tag": "1.2.3-cpu"}},
        {"settings": {"JINA_MAX_INPUTS": 5}, "servedName": "ours"},
        {"apiKeys": {"secretName": "keys"}},
        {"weights": {"source": "download", "download": {"image": "curl"}}},
    ],
    ids=str,
)
def test_anything_else_rolls_without_a_pod_less(after: dict[str, Any]) -> None:
    old, new = rendered(), rendered(after)
    assert selected(new, old)
    for key in ("metadata", "kind"):
        assert old.one("Deployment")[key] == new.one("Deployment")[key]
    selectors = [made.one("Deployment")["spec"]["selector"] for made in (old, new)]
    assert selectors[0] == selectors[1]
    strategy = new.one("Deployment")["spec"]["strategy"]
    assert strategy == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_all_that_selects_pods_selects_those_of_the_deployment(name: str) -> None:
    made = variant(name)
    deployment = made.one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert made.one("Service")["spec"]["selector"] == labels
    assert made.one("PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": labels}
    for policy in made.all("NetworkPolicy"):
        assert policy["spec"]["podSelector"] == {"matchLabels": labels}
    for constraint in made.pod["topologySpreadConstraints"]:
        assert constraint["labelSelector"] == {"matchLabels": labels}
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for scaler in made.all(kind):
            assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert ("replicas" in deployment["spec"]) == (not name.startswith("scaled"))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_container_has_whole_cpus_and_all_that_it_may_have(name: str) -> None:
    """So that the pod is Guaranteed, and the static CPU manager gives it CPUs of its own."""
    pod = variant(name).pod
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        assert resources["limits"]["cpu"].isdigit()


@pytest.mark.parametrize(("pre_stop", "drain"), [(5, 25), (1, 0), (30, 600)])
def test_the_grace_is_time_for_all_that_comes_before_the_end(pre_stop: int, drain: int) -> None:
    made = rendered({"preStopSeconds": pre_stop, "drainSeconds": drain})
    assert made.pod["terminationGracePeriodSeconds"] == pre_stop + drain + 5
    assert made.server["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(pre_stop)]
    assert made.environment["JINA_DRAIN_SECONDS"] == str(drain)


def test_two_releases_are_side_by_side_behind_one_host() -> None:
    """As docs/operate/kubernetes.md does it: nano and small, each where its path begins."""
    releases = {name: variant(f"behind-a-host-{name}", release=name) for name in MODELS.models}
    hosts, names = set(), set()
    for name, made in releases.items():
        (rule,) = made.one("Ingress")["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        hosts.add(rule["host"])
        assert path["path"] == f"/{name}"
        assert path["backend"]["service"]["name"] == made.one("Service")["metadata"]["name"]
        names |= {(each["kind"], each["metadata"]["name"]) for each in made.documents}
        assert made.environment["LLAMA_ARG_API_PREFIX"] == f"/{name}"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert made.server[probe]["httpGet"]["path"].startswith(f"/{name}/")
        assert made.environment["LLAMA_ARG_ALIAS"] == MODELS.models[name].served_as
    assert hosts == {"embeddings.example.com"}
    assert len(names) == sum(len(made.documents) for made in releases.values())
    nano, small = releases.values()
    assert not selected(nano, small)
    assert not selected(small, nano)


def test_a_host_of_its_own_needs_no_prefix() -> None:
    made = variant("everything")
    assert "LLAMA_ARG_API_PREFIX" not in made.environment
    assert made.server["readinessProbe"]["httpGet"]["path"] == "/ready"


def test_keys_are_a_file_and_the_others_have_one_of_them() -> None:
    made = variant("everything")
    assert made.environment["LLAMA_ARG_API_KEY_FILE"] == "/keys/keys"
    assert "LLAMA_API_KEY" not in made.environment
    (keys,) = (each for each in made.pod["volumes"] if each["name"] == "keys")
    assert keys["secret"]["items"] == [{"key": "keys", "path": "keys"}]
    assert keys["secret"]["defaultMode"] == 0o444
    (endpoint,) = made.one("ServiceMonitor")["spec"]["endpoints"]
    one = {"name": "embeddings-keys", "key": "client"}
    assert endpoint["authorization"] == {"credentials": one}
    test = made.one("Pod")["spec"]
    assert test["volumes"][0]["secret"]["items"] == [{"key": "client", "path": "client"}]


def test_settings_of_a_person_win_and_stay_whole_numbers() -> None:
    made = variant("everything")
    assert made.environment["JINA_MAX_WAITING_INPUTS"] == "2000000"
    assert made.environment["JINA_LOG_FORMAT"] == "json"
    assert rendered({"settings": {"LLAMA_ARG_N_PARALLEL": 4}}).environment[
        "LLAMA_ARG_N_PARALLEL"
    ] == ("4")
    test = {each["name"]: each["value"] for each in made.one("Pod")["spec"]["containers"][0]["env"]}
    assert test["DIMENSIONS"] == "256"


@pytest.mark.parametrize("model", MODELS.models.values(), ids=lambda model: model.name)
def test_the_download_is_the_pinned_file(model: Any) -> None:
    made = rendered({"model": model.name, "weights": VARIANTS["download"].values["weights"]})
    (container,) = made.pod["initContainers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    file = model.files["Q8_0"]
    assert environment == {
        "URL": f"https://huggingface.co/{model.repository}/resolve/{model.revision}/{file.name}",
        "SHA256": file.sha256,
        "FILE": f"/models/{file.name}",
    }
    assert made.environment["LLAMA_ARG_MODEL"] == environment["FILE"]
    (models,) = (each for each in made.pod["volumes"] if each["name"] == "models")
    assert int(models["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 2**20 > file.bytes
    mounts = {each["name"]: each for each in made.server["volumeMounts"]}
    assert mounts["models"]["readOnly"] is True


@pytest.mark.parametrize(
    ("name", "ports"),
    [("nano", []), ("download", [53, 53, 443]), ("download-from-a-mirror", [53, 53, 8081])],
)
def test_only_a_download_may_call_out(name: str, ports: list[int]) -> None:
    egress = variant(name).one("NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in egress for port in rule["ports"]] == ports


def test_callers_can_be_named_and_the_helm_test_is_one() -> None:
    made = variant("everything")
    (rule,) = made.one("NetworkPolicy")["spec"]["ingress"]
    assert len(rule["from"]) == 3
    labels = made.one("Pod")["metadata"]["labels"]
    assert rule["from"][-1]["podSelector"]["matchLabels"].items() <= labels.items()
    (rule,) = rendered().one("NetworkPolicy")["spec"]["ingress"]
    assert "from" not in rule


def test_a_gpu_is_asked_for_by_its_name() -> None:
    pod, server = variant("another-gpu").pod, variant("another-gpu").server
    assert server["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "2"
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/mig-1g.10gb", "team"]
    assert "runtimeClassName" not in pod
    assert variant("gpu").pod["runtimeClassName"] == "nvidia"
    assert "tolerations" not in variant("nano").pod


def test_scaling_by_waiting_work_asks_for_this_release() -> None:
    (trigger,) = variant("scaled-by-waiting-work").one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["query"] == (
        'sum(jina_waiting_inputs{namespace="search",service="embeddings"})'
    )
