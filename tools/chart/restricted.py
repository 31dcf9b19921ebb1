"""Pod Security's level "restricted", by rule.

https://kubernetes.io/docs/concepts/security/pod-security-standards has the rules; here are those of
Linux pods in Kubernetes 1.25 and newer, and one of ours: no user or group is fixed for the pod,
because OpenShift refuses all but those that it gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.chart.variants import number

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
#: From this one on its admission allows images as volumes, too (kubernetes/kubernetes#130394).
_IMAGE_VOLUMES = "1.33"
_SECCOMP = ("RuntimeDefault", "Localhost")
_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_USERS = ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups")


def faults(document: dict[str, Any], kubernetes: str) -> list[str]:
    """Return why a version would refuse the pods of a document; nothing where it has none."""
    pod = _pod(document)
    return [] if pod is None else [*_of_the_pod(pod, kubernetes), *_of_containers(pod)]


def _pod(document: dict[str, Any]) -> dict[str, Any] | None:
    if document["kind"] == "Pod":
        return dict(document["spec"])
    template = document.get("spec", {}).get("template")
    return None if template is None else dict(template["spec"])


def _of_the_pod(pod: dict[str, Any], kubernetes: str) -> Iterator[str]:
    for key in _NAMESPACES:
        if pod.get(key):
            yield f"{key} is set"
    allowed = _VOLUMES | ({"image"} if number(kubernetes) >= number(_IMAGE_VOLUMES) else set())
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - {"name"} - allowed:
            yield f"the volume {volume['name']} is a {kind}"
    security = pod.get("securityContext", {})
    for key in _USERS:
        if key in security:
            yield f"{key} is fixed"
    for key in ("sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"):
        if key in security:
            yield f"{key} is set"


def _of_containers(pod: dict[str, Any]) -> Iterator[str]:
    of_pod = pod.get("securityContext", {})
    kinds = ("initContainers", "containers", "ephemeralContainers")
    for container in (each for kind in kinds for each in pod.get(kind, [])):
        security = container.get("securityContext", {})
        for fault in _of_a_container(container, security, {**of_pod, **security}):
            yield f"{container['name']}: {fault}"


def _of_a_container(
    container: dict[str, Any], security: dict[str, Any], effective: dict[str, Any]
) -> Iterator[str]:
    if security.get("privileged"):
        yield "it is privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if effective.get("runAsUser") == 0:
        yield "it runs as root"
    if effective.get("seccompProfile", {}).get("type") not in _SECCOMP:
        yield "it has no seccomp profile"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "it does not drop ALL capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "it adds capabilities"
    if security.get("procMount", "Default") != "Default":
        yield "it has a procMount"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "it has a port of the host"
