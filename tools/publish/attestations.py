"""Statements about an image, in the form in which BuildKit stores them beside it.

docs.docker.com/build/metadata/attestations/attestation-storage says how: a manifest of its own in
the image's index, for the platform `unknown/unknown`, whose layers are in-toto statements. So
`docker buildx imagetools inspect` reads them back, whichever builder made the image: the docker
driver of an engine with the classic image store can make none itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.registry.manifests import CONFIG, MANIFEST, Blob, canonical

_STATEMENT = "application/vnd.in-toto+json"
_UNKNOWN_PLATFORM = {"architecture": "unknown", "os": "unknown"}


@dataclass(frozen=True)
class Attestation:
    """The attestation manifest of one image, and the blobs that it refers to."""

    subject: str
    manifest: Blob
    blobs: tuple[Blob, ...]

    def descriptor(self) -> dict[str, object]:
        """Return what stands in the index for it."""
        return self.manifest.descriptor(
            platform=_UNKNOWN_PLATFORM,
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": self.subject,
            },
        )


def statement(name: str, digest: str, kind: str, predicate: object) -> Blob:
    """Return an in-toto statement that ``predicate`` of that ``kind`` is true of an image.

    ``digest`` is that of the image's manifest.
    """
    content = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    return Blob(_STATEMENT, canonical(content))


def attestation(digest: str, statements: Sequence[Blob]) -> Attestation:
    """Return the attestation manifest that holds ``statements`` about an image's manifest."""
    config = Blob(
        CONFIG,
        canonical(
            {
                **_UNKNOWN_PLATFORM,
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [each.digest for each in statements]},
            }
        ),
    )
    layers = [
        each.descriptor(annotations={"in-toto.io/predicate-type": each.json["predicateType"]})
        for each in statements
    ]
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": layers,
    }
    return Attestation(digest, Blob(MANIFEST, canonical(content)), (config, *statements))
