"""Names, labels and annotations of an image, computed from facts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.facts.images import Image, Images, SourceOrigin
from tools.images.cuda import Cuda, ptx_architecture
from tools.images.version import Revision, published_version

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


@dataclass(frozen=True)
class Base:
    """The base an image was built on: a name a person knows, an exact digest, its origin."""

    name: str
    digest: str
    origin: str


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
        **({f"{OCI}.source": revision.source} if revision.source else {}),
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
