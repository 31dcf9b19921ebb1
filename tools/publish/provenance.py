"""How an image was made: a SLSA v1 provenance predicate (https://slsa.dev/spec/v1.0/provenance).

It says what the labels say, in the form that tools read. It is not signed here; GitHub Actions
signs one of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from tools.facts.images import CudaImages, CudaOrigin, Image, SdistOrigin, SourceOrigin
from tools.images.labels import (
    BASE_ORIGIN_LABEL,
    CUDA_ARCHITECTURES_LABEL,
    CUDA_ORIGIN_LABEL,
    OCI,
    PATCHES_LABEL,
    REVISION_LABEL,
    SOURCE_ORIGIN_LABEL,
    TOOLCHAIN_LABEL,
)

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"

_ORIGINS = {
    "llama-cpp": SOURCE_ORIGIN_LABEL,
    "base": BASE_ORIGIN_LABEL,
    "cuda": CUDA_ORIGIN_LABEL,
}


def provenance(
    *,
    image: Image,
    platform: str,
    labels: Mapping[str, str],
    source: SourceOrigin,
    cuda: CudaOrigin | None,
) -> dict[str, object]:
    """Return the predicate for one platform's image, the same whenever its labels are.

    ``cuda`` is where an image with CUDA has its toolkit from.
    """
    repository, revision = labels.get(f"{OCI}.source"), labels[REVISION_LABEL]
    # Without a repository on the web, the commit itself is all that can be named.
    tree = f"{repository}/blob/{revision}" if repository else f"urn:git:commit:{revision}"
    return {
        "buildDefinition": {
            "buildType": f"{tree}/images/Dockerfile",
            "externalParameters": {
                "image": image.name,
                "platform": platform,
                "origins": {
                    key: labels[label] for key, label in _ORIGINS.items() if label in labels
                },
                "patches": labels[PATCHES_LABEL].split(","),
                **_architectures(labels),
            },
            "internalParameters": {
                "cmake": dict(image.cmake),
                "toolchain": labels[TOOLCHAIN_LABEL],
                "sourceDate": labels[f"{OCI}.created"],
            },
            "resolvedDependencies": [
                _git(repository, revision) if repository else _commit(tree, revision),
                *_source(source),
                _image(labels[f"{OCI}.base.name"], labels[f"{OCI}.base.digest"]),
                *_toolkit(cuda),
            ],
        },
        "runDetails": {"builder": {"id": f"{tree}/tools/images/build.py"}},
    }


def _architectures(labels: Mapping[str, str]) -> dict[str, object]:
    """Return which GPU architectures an image with CUDA was compiled for."""
    if CUDA_ARCHITECTURES_LABEL not in labels:
        return {}
    return {"cudaArchitectures": labels[CUDA_ARCHITECTURES_LABEL].split(",")}


def _image(name: str, digest: str) -> dict[str, object]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


def _toolkit(cuda: CudaOrigin | None) -> list[dict[str, object]]:
    """Return the image that an image with CUDA was compiled in; Debian's packages have no pin."""
    if not isinstance(cuda, CudaImages):
        return []
    return [_image(cuda.devel.reference, cuda.devel.digest)]


def _git(repository: str, commit: str) -> dict[str, object]:
    return _commit(f"git+{repository}@{commit}", commit)


def _commit(uri: str, commit: str) -> dict[str, object]:
    return {"uri": uri, "digest": {"gitCommit": commit}}


def _source(source: SourceOrigin) -> list[dict[str, object]]:
    """Return llama.cpp's commit, and the archive that it was taken from where it was."""
    if not isinstance(source, SdistOrigin):
        return [_git(source.repository, source.commit)]
    archive: dict[str, object] = {
        "uri": f"pkg:pypi/{source.project}@{source.version}",
        "digest": {"sha256": source.sha256},
    }
    return [_git(source.repository, source.commit), archive]
