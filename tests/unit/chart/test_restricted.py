"""Each rule of Pod Security's "restricted" refuses what breaks it, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tools.chart.restricted import faults

CONTAINER = {
    "name": "a",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    },
    "ports": [{"containerPort": 8080}],
}
SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
POD = {
    "kind": "Pod",
    "spec": {
        "securityContext": SECURITY,
        "initContainers": [{**CONTAINER, "name": "b"}],
        "containers": [CONTAINER],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "keys", "secret": {}}],
    },
}
#: Where in the pod's spec, what is there, and what is said.
BROKEN = [
    (("hostNetwork",), True, "hostNetwork is set"),
    (("volumes", 0), {"name": "h", "hostPath": {}}, "the volume h is a hostPath"),
    (("securityContext", "runAsUser"), 65532, "runAsUser is fixed"),
    (("securityContext", "fsGroup"), 65532, "fsGroup is fixed"),
    (("securityContext", "runAsNonRoot"), False, "a: runAsNonRoot is not true"),
    (("securityContext", "seccompProfile", "type"), "Unconfined", "a: it has no seccomp profile"),
    (("securityContext", "sysctls"), [], "sysctls is set"),
    (("containers", 0, "securityContext", "privileged"), True, "a: it is privileged"),
    (
        ("containers", 0, "securityContext", "allowPrivilegeEscalation"),
        True,
        "a: allowPrivilegeEscalation is not false",
    ),
    (("containers", 0, "securityContext", "runAsNonRoot"), False, "a: runAsNonRoot is not true"),
    (("containers", 0, "securityContext", "runAsUser"), 0, "a: it runs as root"),
    (
        ("initContainers", 0, "securityContext", "capabilities"),
        {},
        "b: it does not drop ALL capabilities",
    ),
    (
        ("containers", 0, "securityContext", "capabilities", "add"),
        ["SYS_PTRACE"],
        "a: it adds capabilities",
    ),
    (("containers", 0, "securityContext", "procMount"), "Unmasked", "a: it has a procMount"),
    (("containers", 0, "ports", 0), {"hostPort": 80}, "a: it has a port of the host"),
]


def test_what_keeps_every_rule_has_no_fault() -> None:
    assert faults(POD, "1.25") == []
    assert faults({"kind": "Deployment", "spec": {"template": POD}}, "1.25") == []
    assert faults({"kind": "Service", "spec": {}}, "1.25") == []


@pytest.mark.parametrize(("where", "broken", "said"), BROKEN, ids=lambda each: str(each)[:60])
def test_a_broken_rule_is_found(where: tuple[Any, ...], broken: Any, said: str) -> None:
    pod = deepcopy(POD)
    place: Any = pod["spec"]
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = broken
    assert said in faults(pod, "1.37")
    assert said in faults({"kind": "Deployment", "spec": {"template": pod}}, "1.37")


def test_an_image_may_be_a_volume_from_the_version_on_that_allows_it() -> None:
    pod = deepcopy(POD)
    pod["spec"]["volumes"] = [{"name": "models", "image": {}}]  # type: ignore[index]
    assert faults(pod, "1.32") == ["the volume models is a image"]
    assert faults(pod, "1.33") == []
