"""Names and labels of an image, computed from facts alone."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tools.catalog import ROOT, Image, Images, SourceOrigin

#: Our own labels; the others are the OCI image specification's (annotations.md).
LABEL_PREFIX = "dev.jina-embeddings-v5"
#: git abbreviates llama.cpp's commits to nine digits; `llama-server --version` prints these.
COMMIT_DIGITS = 9
#: The label that lists the patches in an image, and its value where there are none.
PATCHES_LABEL = f"{LABEL_PREFIX}.patches"
NO_PATCHES = "none"


@dataclass(frozen=True)
class Revision:
    """The state of this repository; empty strings outside a git checkout."""

    commit: str
    tag: str

    @property
    def version(self) -> str:
        """The tag without its v, or a development version naming the commit."""
        if self.tag:
            return self.tag.removeprefix("v")
        return f"0.0.0-dev.{self.commit[:12] or 'unknown'}"


@dataclass(frozen=True)
class Base:
    """The base an image was built on: a name a person knows, an exact digest, its origin."""

    name: str
    digest: str
    origin: str


def read_revision() -> Revision:
    """Return the commit that is checked out and the version tag on it, if there is one."""

    def git(*arguments: str) -> str:
        try:
            result = subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return ""
        return result.stdout.strip() if result.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    dirty = "-dirty" if git("status", "--porcelain") else ""
    tag = git("describe", "--tags", "--exact-match", "--match", "v*") if not dirty else ""
    return Revision(f"{commit}{dirty}" if commit else "", tag)


def local_name(images: Images, image: Image) -> str:
    """Return the name that a local build gets, such as ``jina-embeddings-v5:cpu``."""
    return f"{images.repository}:{image.name}"


def short_commit(source: SourceOrigin) -> str:
    """Return the pinned llama.cpp commit as ``llama-server --version`` reports it."""
    return source.commit[:COMMIT_DIGITS]


def labels(
    images: Images,
    image: Image,
    source: SourceOrigin,
    base: Base,
    revision: Revision,
    *,
    patches: Sequence[str],
) -> dict[str, str]:
    """Return every label of an image.

    The ``org.opencontainers.image`` keys are those of the OCI image specification; licences
    are SPDX expressions: ours, then llama.cpp's MIT.
    """
    oci = "org.opencontainers.image"
    return {
        f"{oci}.title": f"jina-embeddings-v5 ({image.name})",
        f"{oci}.description": "llama-server for jina-embeddings-v5-text; model files not included",
        f"{oci}.source": images.source,
        f"{oci}.revision": revision.commit,
        f"{oci}.version": revision.version,
        f"{oci}.licenses": f"{images.licence} AND MIT",
        f"{oci}.base.name": base.name,
        f"{oci}.base.digest": base.digest,
        f"{LABEL_PREFIX}.base.origin": base.origin,
        f"{LABEL_PREFIX}.llama-cpp.repository": source.repository,
        f"{LABEL_PREFIX}.llama-cpp.commit": source.commit,
        f"{LABEL_PREFIX}.llama-cpp.origin": source.name,
        PATCHES_LABEL: ",".join(patches) or NO_PATCHES,
    }
