"""Names, labels and annotations of an image, computed from facts alone."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tools.common.errors import ToolError
from tools.facts.images import ROOT, Image, Images, SourceOrigin
from tools.images.cuda import Cuda, ptx_architecture

#: Our own labels; the others are the OCI image specification's (annotations.md).
LABEL_PREFIX = "dev.jina-embeddings-v5"
#: git abbreviates llama.cpp's commits to nine digits; `llama-server --version` prints these.
COMMIT_DIGITS = 9
#: The label that lists the patches in an image, and its value where there are none.
PATCHES_LABEL = f"{LABEL_PREFIX}.patches"
NO_PATCHES = "none"
#: What else is read back from an image when it is published.
OCI = "org.opencontainers.image"
REVISION_LABEL = f"{OCI}.revision"
VERSION_LABEL = f"{OCI}.version"
SOURCE_ORIGIN_LABEL = f"{LABEL_PREFIX}.llama-cpp.origin"
BASE_ORIGIN_LABEL = f"{LABEL_PREFIX}.base.origin"
TOOLCHAIN_LABEL = f"{LABEL_PREFIX}.toolchain"
#: Which variants of the CPU kernels are in an image; a published one has them all.
VARIANTS_LABEL = f"{LABEL_PREFIX}.cpu-variants"
ALL_VARIANTS = "all"
#: The model that was baked into an image; such an image stays where it was made.
MODEL_LABEL = f"{LABEL_PREFIX}.model"

#: Which flavour an image is, and what an image with CUDA says: where its toolkit is from, and which
#: architectures it has machine code and PTX for.
FLAVOUR_LABEL = f"{LABEL_PREFIX}.flavour"
CUDA_ORIGIN_LABEL = f"{LABEL_PREFIX}.cuda.origin"
CUDA_VERSION_LABEL = f"{LABEL_PREFIX}.cuda.version"
CUDA_ARCHITECTURES_LABEL = f"{LABEL_PREFIX}.cuda.architectures"
CUDA_PTX_LABEL = f"{LABEL_PREFIX}.cuda.ptx"
#: NVIDIA's libraries in those images are under its own terms, which allow to pass them on:
#: https://docs.nvidia.com/cuda/eula/
CUDA_LICENCE = "LicenseRef-NVIDIA-CUDA-EULA"

#: Semantic versioning without build metadata, whose ``+`` no image tag may have.
_NUMBER = r"(?:0|[1-9]\d*)"
_IDENTIFIER = r"[0-9A-Za-z-]+"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
)
#: What the version of an image ends with where an input is not from its first origin.
_FALLBACK = "-dev"


@dataclass(frozen=True)
class Revision:
    """The state of this repository; empty strings outside a git checkout.

    ``time`` is in seconds since 1970: the commit's, unless SOURCE_DATE_EPOCH says another.
    """

    commit: str
    tag: str
    time: int = 0

    @property
    def version(self) -> str:
        """The tag without its v, or a development version naming the commit."""
        if self.tag:
            return self.tag.removeprefix("v")
        return f"0.0.0-dev.{self.commit[:12] or 'unknown'}"

    @property
    def dirty(self) -> bool:
        """Whether there are changes that no commit holds."""
        return self.commit.endswith("-dirty")

    @property
    def created(self) -> str:
        """The time as RFC 3339 writes it."""
        return datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Names:
    """The tags of a published image.

    ``fixed`` ones never change. Those ``of_commit`` stay with what was published first of a
    commit: its pre-release and its release have different labels. ``moving`` ones go forward.
    """

    fixed: tuple[str, ...]
    of_commit: tuple[str, ...]
    moving: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every one, in the order in which they are set."""
        return (*self.fixed, *self.of_commit, *self.moving)


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
    tags = git("tag", "--points-at", "HEAD").splitlines() if not dirty else []
    return Revision(
        commit=f"{commit}{dirty}" if commit else "",
        tag=newest_version_tag(tags),
        time=_source_date(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")),
    )


def _source_date(text: str) -> int:
    if not re.fullmatch(r"\d*", text):
        raise ToolError(f"SOURCE_DATE_EPOCH must be seconds since 1970, found {text!r}")
    return int(text or 0)


def newest_version_tag(tags: Sequence[str]) -> str:
    """Return the newest of those tags that are a v and a version, or an empty string.

    Raises ToolError for a version that says what only fallback origins make true.
    """
    versions = [tag for tag in tags if tag[:1] == "v" and _VERSION.fullmatch(tag[1:])]
    for tag in versions:
        if tag.endswith(_FALLBACK):
            raise ToolError(
                f"the git tag {tag} is taken for images from fallback origins, whose versions end "
                f"with {_FALLBACK}; delete it (`git tag --delete {tag}`) and choose another"
            )
    return max(versions, key=lambda tag: _order(tag[1:]), default="")


def _order(version: str) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
    """Return what versions are compared by, as semver.org's item 11 has it.

    A release comes after its pre-releases. Of the parts of these, numbers are compared as numbers
    and come before words, and fewer parts before more.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ToolError(f"{version!r} is not a version of the form 1.2.3 or 1.2.3-rc.1")
    major, minor, patch, pre = found.groups()
    parts = tuple(
        (False, int(each), "") if each.isdecimal() else (True, 0, each)
        for each in (pre.split(".") if pre else [])
    )
    return int(major), int(minor), int(patch), pre is None, parts


def is_newer(version: str, other: str) -> bool:
    """Whether ``version`` comes after ``other``; raises ToolError where one is no version."""
    return _order(version) > _order(other)


def published_version(revision: Revision, *, fallback: bool) -> str:
    """Return the version of an image: marked -dev where an input is not from its first origin."""
    return f"{revision.version}{_FALLBACK}" if fallback else revision.version


def names(image: str, revision: Revision, *, fallback: bool, tested: bool = True) -> Names:
    """Return the tags under which the image flavour ``image`` is published.

    Only a release whose inputs are all from their first origins, and of which every platform was
    ``tested``, moves the short tags. A commit's own tag is for such images, too: one from
    ``fallback`` origins is not what others would get from that commit, and an untested one would
    keep the tag from one that is tested later.
    """
    version = published_version(revision, fallback=fallback)
    major, minor, _, release, _ = _order(version)
    fixed = (f"{version}-{image}",)
    if fallback or not tested:
        return Names(fixed, (), ())
    moving = (f"{major}.{minor}-{image}", image) if release else ()
    return Names(fixed, (f"sha-{revision.commit}-{image}",), moving)


def is_fallback(images: Images, labels: Mapping[str, str]) -> bool:
    """Whether an input of the image with these labels is not from its first origin."""
    first = {SOURCE_ORIGIN_LABEL: images.llama_cpp[0].name}
    if CUDA_ORIGIN_LABEL in labels:  # the first one is a base, too
        first[CUDA_ORIGIN_LABEL] = images.cuda[0].name
    else:
        first[BASE_ORIGIN_LABEL] = images.base[0].name
    return any(labels.get(key) != name for key, name in first.items())


def index_annotations(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the annotations of an index: the labels on which all its platforms agree."""
    return {
        key: value
        for key, value in sorted(labels[0].items())
        if key.startswith((OCI, LABEL_PREFIX)) and all(each.get(key) == value for each in labels)
    }


def local_name(
    images: Images,
    image: Image,
    other_platform: str | None = None,
    *,
    one_variant: bool = False,
) -> str:
    """Return the name that a local build gets, such as ``jina-embeddings-v5:cpu``.

    One for another platform than the engine's own is named after its architecture too, and one
    with a single variant of the CPU kernels says so.
    """
    suffix = f"-{architecture(other_platform)}" if other_platform else ""
    variant = "-one-variant" if one_variant else ""
    return f"{images.repository}:{image.name}{suffix}{variant}"


def architecture(platform: str) -> str:
    """Return a platform's architecture as Docker and Debian call it: amd64, arm64."""
    return platform.partition("/")[2]


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
    toolchain: str,
    cuda: Cuda | None = None,
    one_variant: bool = False,
) -> dict[str, str]:
    """Return every label of an image.

    The ``org.opencontainers.image`` keys are those of the OCI image specification; licences
    are SPDX expressions: ours, llama.cpp's MIT, and NVIDIA's where its libraries are inside.
    ``toolchain`` is the compiler.
    """
    origins = {SOURCE_ORIGIN_LABEL: source.name, BASE_ORIGIN_LABEL: base.origin}
    if cuda is not None:
        origins[CUDA_ORIGIN_LABEL] = cuda.origin.name
    licences = [images.licence, "MIT", *([CUDA_LICENCE] if cuda else [])]
    return {
        f"{OCI}.title": f"jina-embeddings-v5 ({image.name})",
        f"{OCI}.description": "llama-server for jina-embeddings-v5-text; model files not included",
        f"{OCI}.source": images.source,
        REVISION_LABEL: revision.commit,
        VERSION_LABEL: published_version(revision, fallback=is_fallback(images, origins)),
        f"{OCI}.created": revision.created,
        f"{OCI}.licenses": " AND ".join(licences),
        f"{OCI}.base.name": base.name,
        f"{OCI}.base.digest": base.digest,
        **origins,
        f"{LABEL_PREFIX}.llama-cpp.repository": source.repository,
        f"{LABEL_PREFIX}.llama-cpp.commit": source.commit,
        TOOLCHAIN_LABEL: toolchain,
        PATCHES_LABEL: ",".join(patches) or NO_PATCHES,
        FLAVOUR_LABEL: image.name,
        VARIANTS_LABEL: "one" if one_variant else ALL_VARIANTS,
        **(_cuda_labels(cuda) if cuda else {}),
    }


def _cuda_labels(cuda: Cuda) -> dict[str, str]:
    return {
        CUDA_VERSION_LABEL: cuda.origin.version,
        CUDA_ARCHITECTURES_LABEL: ",".join(map(str, cuda.architectures)),
        CUDA_PTX_LABEL: str(ptx_architecture(cuda.architectures) or "none"),
    }
