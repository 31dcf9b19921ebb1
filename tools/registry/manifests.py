"""Manifests and indexes as bytes, whose digests name them.

The formats are those of the OCI image specification (manifest.md, image-index.md, descriptor.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


def digest_of(content: bytes) -> str:
    """Return the digest that names ``content`` in a registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(value: object) -> bytes:
    """Return JSON that is the same whenever the value is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Blob:
    """Something in a registry: bytes of a media type."""

    media_type: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """The name of the bytes."""
        return digest_of(self.content)

    @property
    def json(self) -> dict[str, Any]:
        """The bytes read as a JSON object."""
        return dict(json.loads(self.content))

    def descriptor(self, **more: object) -> dict[str, object]:
        """Return what refers to it from a manifest or an index, with ``more`` properties."""
        described = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}
        return {**described, **more}


def platform_of(name: str) -> dict[str, str]:
    """Return the platform of a descriptor: ``linux/arm64/v8`` taken apart."""
    keys = ("os", "architecture", "variant")
    return dict(zip(keys, name.split("/"), strict=False))


def image_index(manifests: list[dict[str, object]], annotations: Mapping[str, str]) -> Blob:
    """Return an index over the described manifests."""
    content = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": dict(annotations),
    }
    return Blob(INDEX, canonical(content))


def compressed_size(manifest: Blob) -> int:
    """Return the bytes that pulling an image takes: its layers and its configuration."""
    described = manifest.json
    return sum(each["size"] for each in [described["config"], *described["layers"]])
