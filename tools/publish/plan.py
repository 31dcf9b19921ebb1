"""What would be published, and everything that speaks against it; nothing here asks a registry."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tools.common.errors import ToolError
from tools.engine.docker import run_docker
from tools.facts.images import Image, Images, local_name
from tools.facts.models import Models
from tools.images.cuda import choose_architectures
from tools.images.labels import (
    ALL_VARIANTS,
    BASE_ORIGIN_LABEL,
    CUDA_ARCHITECTURES_LABEL,
    CUDA_ORIGIN_LABEL,
    FLAVOUR_LABEL,
    MODEL_LABEL,
    NO_PATCHES,
    PATCHES_LABEL,
    REVISION_LABEL,
    SOURCE_ORIGIN_LABEL,
    VARIANTS_LABEL,
    VERSION_LABEL,
    is_fallback,
)
from tools.images.names import Names, names
from tools.images.version import Revision, published_version


@dataclass(frozen=True)
class Built:
    """An image of one platform in the local engine."""

    platform: str
    reference: str
    id: str
    labels: Mapping[str, str]

    @property
    def candidate_tag(self) -> str:
        """A tag that is no release's and always means the same content."""
        architecture = self.platform.removeprefix("linux/").replace("/", "")
        return f"candidate-{self.id.removeprefix('sha256:')[:16]}-{architecture}"


@dataclass(frozen=True)
class Release:
    """One image flavour, its platforms, and the names that they get together."""

    image: Image
    built: tuple[Built, ...]
    names: Names
    untested: frozenset[str]  # platforms that may go without tests


def local_references(images: Images, image: Image, platform: str) -> list[str]:
    """Return the local names under which an image of a platform may be found, best first."""
    usual = local_name(images, image)
    return [f"{usual}-{platform.removeprefix('linux/').replace('/', '')}", usual]


def find_built(references: Sequence[str], platform: str, image: str) -> Built:
    """Return the first of these local images that is for ``platform``.

    Raises ToolError, naming the flavour ``image``, when there is none.
    """
    for reference in references:
        found = run_docker(["image", "inspect", reference], timeout=60)
        if found.returncode != 0:
            continue
        facts = json.loads(found.stdout)[0]
        if platform.split("/")[:2] == [facts["Os"], facts["Architecture"]]:
            return Built(platform, reference, facts["Id"], facts["Config"].get("Labels") or {})
    raise ToolError(
        f"there is no local image {image} for {platform}; `nox -s build` makes it, "
        "`nox -s archive` brings it from another machine"
    )


def plan_release(
    image: Image,
    built: tuple[Built, ...],
    images: Images,
    revision: Revision,
    untested: Collection[str] = (),
) -> Release:
    """Return what is to be published of an image flavour, and under which names."""
    fallback = any(is_fallback(images, each.labels) for each in built)
    skipped = frozenset(untested) & {each.platform for each in built}
    named = names(image.name, revision, fallback=fallback, tested=not skipped)
    return Release(image, built, named, skipped)


def refusals(
    release: Release,
    images: Images,
    models: Models,
    revision: Revision,
    *,
    allow_fallback_origins: bool,
) -> list[str]:
    """Return why ``release`` must not be published, a sentence for each reason."""
    found = []
    if not revision.commit:
        found.append("this is no git checkout, so nobody could tell what was published")
    elif revision.dirty:
        found.append("the tree has changes that no commit holds; commit or stash them")
    version = published_version(
        revision, fallback=any(is_fallback(images, each.labels) for each in release.built)
    )
    for built in release.built:
        if model := built.labels.get(MODEL_LABEL):
            found.append(
                f"{built.reference} holds the model {model}, which is under {models.licence} "
                f"({models.licence_url}): it is only for where it was baked"
            )
            continue
        if not revision.dirty:
            found += _of_another_tree(built, revision, version)
        found += _of_another_build(built, release.image, images)
        if is_fallback(images, built.labels) and not allow_fallback_origins:
            found.append(_not_first(built))
    return found


def _of_another_build(built: Built, image: Image, images: Images) -> list[str]:
    """Return how an image was built otherwise than one that is published."""
    found = []
    flavour = built.labels.get(FLAVOUR_LABEL) or "unknown"
    if flavour != image.name:
        found.append(f"{built.reference} is of the flavour {flavour}, not {image.name}")
    if built.labels.get(PATCHES_LABEL, NO_PATCHES) == NO_PATCHES:
        found.append(f"{built.reference} was built without our patches")
    if built.labels.get(VARIANTS_LABEL, ALL_VARIANTS) != ALL_VARIANTS:
        found.append(
            f"{built.reference} has one variant of the CPU kernels only; build it without "
            "--one-variant"
        )
    if missing := _missing_architectures(image, images, built):
        found.append(
            f"{built.reference} has no code for the GPU architectures "
            f"{', '.join(map(str, missing))}; build it without --cuda-arch"
        )
    return found


def _missing_architectures(image: Image, images: Images, built: Built) -> list[int]:
    """Return what the image's toolkit could compile for and its label does not name."""
    label = built.labels.get(CUDA_ARCHITECTURES_LABEL, "")
    there = {int(each) for each in label.split(",") if each.isdecimal()}
    used = built.labels.get(CUDA_ORIGIN_LABEL)
    for origin in images.cuda:
        if origin.name == used:
            return [each for each in choose_architectures(image, origin) if each not in there]
    # Of an origin that is not known, nothing can be left out.
    return [each for each in image.cuda_architectures if each not in there]


def _of_another_tree(built: Built, revision: Revision, version: str) -> list[str]:
    commit = built.labels.get(REVISION_LABEL, "an unknown commit")
    if commit != revision.commit:
        return [
            f"{built.reference} was built from {commit}, the tree is at {revision.commit}; "
            "build it again"
        ]
    said = built.labels.get(VERSION_LABEL)
    if said != version:
        return [f"{built.reference} says that it is version {said}, not {version}; build it again"]
    return []


def _not_first(built: Built) -> str:
    origins = ", ".join(
        built.labels.get(label, "unknown")
        for label in (SOURCE_ORIGIN_LABEL, BASE_ORIGIN_LABEL, CUDA_ORIGIN_LABEL)
        if label != CUDA_ORIGIN_LABEL or label in built.labels
    )
    return (
        f"{built.reference} is not made of first origins only (it is of {origins}); build it with "
        "`--origin first-only`, or publish a development version of it with "
        "--allow-fallback-origins"
    )
