"""What the binaries are made of: ``images/images.toml``, read into frozen dataclasses.

A fault in the file is refused at load with the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tools.facts.paths import IMAGES_FILE
from tools.facts.platforms import architecture
from tools.facts.table import COMMIT, DIGEST, NAME, SHA256, Table, read_table

#: In the place of a digest that was not known when its row was written.
FROM_REGISTRY = "from-registry"

#: Those that images/Dockerfile knows a compiler for.
_PLATFORMS = ("linux/amd64", "linux/arm64")


@dataclass(frozen=True)
class GitOrigin:
    """llama.cpp's source at one commit of a git repository."""

    name: str
    auto: bool
    repository: str
    commit: str
    branch: str


@dataclass(frozen=True)
class SdistOrigin:
    """llama.cpp's source inside a Python source distribution, in ``folder``."""

    name: str
    auto: bool
    repository: str
    commit: str
    project: str
    version: str
    bytes: int
    sha256: str
    folder: str


@dataclass(frozen=True)
class ImageOrigin:
    """An image in a registry, pinned by digest; only those of monitoring may lack it yet."""

    name: str
    auto: bool
    reference: str
    digest: str

    @property
    def pinned(self) -> str:
        """The reference with its digest, as ``docker pull`` takes it."""
        return f"{self.reference}@{self.digest}"


@dataclass(frozen=True)
class BootstrapOrigin:
    """A Debian release made from the package archive, its signatures checked.

    No file in it is newer than the day on which it was ``released``.
    """

    name: str
    auto: bool
    suite: str
    released: date
    include: tuple[str, ...]


@dataclass(frozen=True)
class CudaImages:
    """NVIDIA's images of the CUDA toolkit, and the newest architecture that it knows."""

    name: str
    auto: bool
    version: str
    newest: int
    devel: ImageOrigin
    runtime: ImageOrigin


@dataclass(frozen=True)
class CudaPackages:
    """The CUDA toolkit in the Debian base's own archive, and the newest architecture it knows."""

    name: str
    auto: bool
    version: str
    newest: int
    toolkit: tuple[str, ...]
    libraries: tuple[str, ...]


SourceOrigin = GitOrigin | SdistOrigin
BaseOrigin = ImageOrigin | BootstrapOrigin
CudaOrigin = CudaImages | CudaPackages


@dataclass(frozen=True)
class Image:
    """One binary flavour: how llama-server is configured, and for which platforms.

    ``cuda_architectures`` are compute capabilities without their dot, ascending; empty for a
    flavour without CUDA.
    """

    name: str
    platforms: tuple[str, ...]
    cuda_architectures: tuple[int, ...]
    cmake: tuple[tuple[str, str], ...]

    @property
    def cmake_flags(self) -> str:
        """The flags as one command-line string, in the catalogue's order."""
        return " ".join(f"-D{key}={value}" for key, value in self.cmake)


@dataclass(frozen=True)
class Images:
    """``images/images.toml``."""

    repository: str
    licence: str
    llama_cpp: tuple[SourceOrigin, ...]
    base: tuple[BaseOrigin, ...]
    cuda: tuple[CudaOrigin, ...]
    monitoring: tuple[ImageOrigin, ...]
    images: Mapping[str, Image]


def _git_origin(table: Table, name: str, auto: bool) -> GitOrigin:
    return GitOrigin(
        name=name,
        auto=auto,
        repository=table.text("repository"),
        commit=table.text("commit", COMMIT),
        branch=table.text("branch"),
    )


def _sdist_origin(table: Table, name: str, auto: bool) -> SdistOrigin:
    return SdistOrigin(
        name=name,
        auto=auto,
        repository=table.text("repository"),
        commit=table.text("commit", COMMIT),
        project=table.text("project"),
        version=table.text("version"),
        bytes=table.positive("bytes"),
        sha256=table.text("sha256", SHA256),
        folder=table.text("folder"),
    )


def _image_origin(
    table: Table, name: str, auto: bool, digest: re.Pattern[str] = DIGEST
) -> ImageOrigin:
    return ImageOrigin(
        name=name,
        auto=auto,
        reference=table.text("reference"),
        digest=table.text("digest", digest),
    )


def _bootstrap_origin(table: Table, name: str, auto: bool) -> BootstrapOrigin:
    return BootstrapOrigin(
        name=name,
        auto=auto,
        suite=table.text("suite", NAME),
        released=table.take("released", date),
        include=table.sequence("include", str),
    )


def _only_image(table: Table, digest: re.Pattern[str] = DIGEST) -> ImageOrigin:
    kind = table.text("kind")
    if kind != "image":
        raise table.fault("kind", f"must be image, found {kind!r}")
    image = _image_origin(table, table.text("name", NAME), auto=True, digest=digest)
    table.end()
    return image


def _cuda_images(table: Table, name: str, auto: bool) -> CudaImages:
    return CudaImages(
        name=name,
        auto=auto,
        version=table.text("version"),
        newest=table.positive("newest"),
        devel=_only_image(table.table("devel")),
        runtime=_only_image(table.table("runtime")),
    )


def _cuda_packages(table: Table, name: str, auto: bool) -> CudaPackages:
    return CudaPackages(
        name=name,
        auto=auto,
        version=table.text("version"),
        newest=table.positive("newest"),
        toolkit=table.sequence("toolkit", str),
        libraries=table.sequence("libraries", str),
    )


_SOURCE_KINDS = {"git": _git_origin, "sdist": _sdist_origin}
_BASE_KINDS = {"image": _image_origin, "bootstrap": _bootstrap_origin}
_CUDA_KINDS = {"images": _cuda_images, "packages": _cuda_packages}


def _origins(parent: Table, name: str, kinds: Mapping[str, Any]) -> tuple[Any, ...]:
    origins: list[Any] = []
    for table in parent.tables(name):
        kind = table.text("kind")
        if kind not in kinds:
            raise table.fault("kind", f"must be one of {', '.join(kinds)}, found {kind!r}")
        origin_name = table.text("name", NAME)
        if origin_name in {origin.name for origin in origins}:
            raise table.fault("name", f"{origin_name!r} is there twice")
        origins.append(kinds[kind](table, origin_name, table.flag("auto", default=True)))
        table.end()
    if not origins[0].auto:
        raise parent.fault(name, "the first origin must be usable automatically")
    return tuple(origins)


def _cmake(table: Table) -> tuple[tuple[str, str], ...]:
    return tuple((key, table.text(key)) for key in list(table.values))


def _image(table: Table, name: str, shared: tuple[tuple[str, str], ...]) -> Image:
    architectures: tuple[int, ...] = ()
    if "cuda_architectures" in table.values:
        architectures = table.sequence("cuda_architectures", int)
        if list(architectures) != sorted(set(architectures)):
            raise table.fault("cuda_architectures", "must be ascending, each once")
    own = _cmake(table.table("cmake")) if "cmake" in table.values else ()
    for key, _ in own:
        if key in dict(shared):
            raise table.fault("cmake", f"{key} is set for all images already")
    platforms = table.sequence("platforms", str)
    if not set(platforms) <= set(_PLATFORMS):
        raise table.fault("platforms", f"must be of {', '.join(_PLATFORMS)}, found {platforms}")
    image = Image(name, platforms, architectures, shared + own)
    table.end()
    return image


def _monitoring(top: Table) -> tuple[ImageOrigin, ...]:
    digest = re.compile(f"{DIGEST.pattern}|{FROM_REGISTRY}")
    return tuple(_only_image(table, digest) for table in top.tables("monitoring"))


def load_images(path: Path = IMAGES_FILE) -> Images:
    """Read and check ``images/images.toml``.

    Raises ToolError naming the file and the key for anything missing, unknown or malformed.
    """
    top = read_table(path)
    shared = _cmake(top.table("cmake"))
    loaded = Images(
        repository=top.text("repository", NAME),
        licence=top.text("licence"),
        llama_cpp=_origins(top, "llama_cpp", _SOURCE_KINDS),
        base=_origins(top, "base", _BASE_KINDS),
        cuda=_origins(top, "cuda", _CUDA_KINDS),
        monitoring=_monitoring(top),
        images={
            name: _image(table, name, shared) for name, table in top.named_tables("images").items()
        },
    )
    top.end()
    return loaded


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
