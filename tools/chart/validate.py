"""Whether Kubernetes knows every field of what the chart makes, of each version and offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions

from tools.chart.variants import OLDEST, number
from tools.common.errors import ToolError

_CUSTOM: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("custom_resources.yaml").read_text(encoding="utf-8")
)


def kubernetes_versions() -> list[str]:
    """Return the versions that can be validated for, from OLDEST on, as ``1.25``."""
    known = sorted({number(each) for each in all_versions()})
    return [f"{major}.{minor}" for major, minor in known if (major, minor) >= number(OLDEST)]


def validate(document: dict[str, Any], kubernetes: str) -> None:
    """Check one document against a version, strictly: an unknown field is a fault.

    Raises ToolError naming the document, the field and the version.
    """
    try:
        if document["kind"] in _CUSTOM:
            jsonschema.Draft202012Validator(_custom(document["kind"])).validate(document)
        else:
            kubernetes_validate.validate(document, kubernetes, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise ToolError(
            f"Kubernetes {kubernetes} has no {error.kind} of {error.api_version}"
        ) from None
    except jsonschema.ValidationError as error:
        where = ".".join(str(each) for each in error.absolute_path)
        raise ToolError(
            f"{document['kind']} {document['metadata']['name']}, Kubernetes {kubernetes}: "
            f"{where or 'the document'}: {error.message}"
        ) from None


def _custom(kind: str) -> dict[str, Any]:
    """Return the schema of a custom resource, whose metadata are those of all."""
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": _CUSTOM[kind]["apiVersion"]},
            "kind": {"const": kind},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string"}, "labels": texts},
            },
            "spec": _CUSTOM[kind]["spec"],
        },
    }
