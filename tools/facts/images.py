"""The facts of the project, read from its two fact files into frozen dataclasses.

``images/images.toml`` says what the binaries are made of, ``models/models.toml`` what they
serve. Everything else reads them through this module. A fault in either file is refused at
load with the file and the key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal, cast

from tools.common.errors import ToolError

ROOT = Path(__file__).resolve().parents[2]
IMAGES_FILE = ROOT / "images" / "images.toml"
MODELS_FILE = ROOT / "models" / "models.toml"

#: The value of ``sha256`` and ``bytes`` for a file whose hash and size are taken from the Hub at
#: the pinned revision.
FROM_HUB = "from-hub"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: Those that images/Dockerfile knows a compiler for.
_PLATFORMS = ("linux/amd64", "linux/arm64")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


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
    """A base image in a registry, pinned by digest."""

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
    source: str
    licence: str
    llama_cpp: tuple[SourceOrigin, ...]
    base: tuple[BaseOrigin, ...]
    cuda: tuple[CudaOrigin, ...]
    images: Mapping[str, Image]


@dataclass(frozen=True)
class ModelFile:
    """One quantisation of a model; ``bytes`` is None where only the Hub knows the size."""

    quantisation: str
    name: str
    sha256: str
    bytes: int | None


@dataclass(frozen=True)
class Shape:
    """The true shape of a model, from which synthetic weights are made."""

    architecture: Literal["eurobert", "qwen3"]
    causal: bool
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    rope_base: float
    rms_eps: float


@dataclass(frozen=True)
class Serve:
    """What the compose profile sets; lengths are tokens.

    ``memory_bytes`` limits the host memory of a server on the CPU, ``gpu_memory_bytes`` of one on
    a GPU, whose own memory is not limited.
    """

    ctx_size: int
    batch: int
    ubatch: int
    parallel: int
    memory_bytes: int
    gpu_memory_bytes: int


@dataclass(frozen=True)
class Model:
    """One model: where its files are, and what its vectors look like."""

    name: str
    repository: str
    revision: str
    dims: int
    matryoshka: tuple[int, ...]
    context: int
    pooling: str
    files: Mapping[str, ModelFile]
    shape: Shape
    serve: Serve


@dataclass(frozen=True)
class Models:
    """``models/models.toml``."""

    licence: str
    licence_url: str
    default_quantisation: str
    query_prefix: str
    document_prefix: str
    models: Mapping[str, Model]

    @property
    def shared_matryoshka(self) -> tuple[int, ...]:
        """The sizes that every model has, ascending."""
        sizes = [set(model.matryoshka) for model in self.models.values()]
        return tuple(sorted(set.intersection(*sizes)))


class _Table:
    """One TOML table, taken apart key by key; what is wrong is reported by file and key."""

    def __init__(self, path: Path, where: str, values: object) -> None:
        self.path = path
        self.where = where
        if not isinstance(values, dict):
            raise ToolError(f"{path.name}: {where or 'the file'} must be a table")
        self.values: dict[str, Any] = dict(values)

    def key(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def fault(self, name: str, problem: str) -> ToolError:
        return ToolError(f"{self.path.name}: {self.key(name)}: {problem}")

    def take(self, name: str, kind: type | tuple[type, ...], default: object = None) -> Any:
        value = self.values.pop(name, default)
        if value is None:
            raise self.fault(name, "is missing")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join(each.__name__ for each in kinds)
            raise self.fault(name, f"must be {expected}, found {value!r}")
        return value

    def text(self, name: str, pattern: re.Pattern[str] | None = None) -> str:
        value = cast(str, self.take(name, str))
        if not value or (pattern is not None and not pattern.fullmatch(value)):
            form = f" of the form {pattern.pattern}" if pattern else " that is not empty"
            raise self.fault(name, f"must be a string{form}, found {value!r}")
        return value

    def positive(self, name: str) -> int:
        value = cast(int, self.take(name, int))
        if value <= 0:
            raise self.fault(name, f"must be greater than 0, found {value}")
        return value

    def real(self, name: str) -> float:
        value = float(self.take(name, (int, float)))
        if value <= 0:
            raise self.fault(name, f"must be greater than 0, found {value}")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        return cast(bool, self.take(name, bool, default))

    def sequence(self, name: str, kind: type) -> tuple[Any, ...]:
        values = self.take(name, list)
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self.fault(name, f"must hold only {kind.__name__}, found {value!r}")
        if not values:
            raise self.fault(name, "must not be empty")
        return tuple(values)

    def table(self, name: str) -> _Table:
        return _Table(self.path, self.key(name), self.take(name, dict))

    def tables(self, name: str) -> list[_Table]:
        items = self.take(name, list)
        if not items:
            raise self.fault(name, "must not be empty")
        return [_Table(self.path, f"{self.key(name)}[{i}]", item) for i, item in enumerate(items)]

    def named_tables(self, name: str) -> dict[str, _Table]:
        group = self.table(name)
        if not group.values:
            raise self.fault(name, "must not be empty")
        return {key: group.table(key) for key in list(group.values)}

    def end(self) -> None:
        if self.values:
            raise self.fault(min(self.values), "unknown key")


def _read(path: Path) -> _Table:
    try:
        return _Table(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ToolError(f"{path} does not exist; run from a complete checkout") from None
    except tomllib.TOMLDecodeError as error:
        raise ToolError(f"{path.name}: not valid TOML: {error}") from None


def _git_origin(table: _Table, name: str, auto: bool) -> GitOrigin:
    return GitOrigin(
        name=name,
        auto=auto,
        repository=table.text("repository"),
        commit=table.text("commit", _COMMIT),
        branch=table.text("branch"),
    )


def _sdist_origin(table: _Table, name: str, auto: bool) -> SdistOrigin:
    return SdistOrigin(
        name=name,
        auto=auto,
        repository=table.text("repository"),
        commit=table.text("commit", _COMMIT),
        project=table.text("project"),
        version=table.text("version"),
        bytes=table.positive("bytes"),
        sha256=table.text("sha256", _SHA256),
        folder=table.text("folder"),
    )


def _image_origin(table: _Table, name: str, auto: bool) -> ImageOrigin:
    return ImageOrigin(
        name=name,
        auto=auto,
        reference=table.text("reference"),
        digest=table.text("digest", _DIGEST),
    )


def _bootstrap_origin(table: _Table, name: str, auto: bool) -> BootstrapOrigin:
    return BootstrapOrigin(
        name=name,
        auto=auto,
        suite=table.text("suite", _NAME),
        released=table.take("released", date),
        include=table.sequence("include", str),
    )


def _cuda_image(table: _Table) -> ImageOrigin:
    kind = table.text("kind")
    if kind != "image":
        raise table.fault("kind", f"must be image, found {kind!r}")
    image = _image_origin(table, table.text("name", _NAME), auto=True)
    table.end()
    return image


def _cuda_images(table: _Table, name: str, auto: bool) -> CudaImages:
    return CudaImages(
        name=name,
        auto=auto,
        version=table.text("version"),
        newest=table.positive("newest"),
        devel=_cuda_image(table.table("devel")),
        runtime=_cuda_image(table.table("runtime")),
    )


def _cuda_packages(table: _Table, name: str, auto: bool) -> CudaPackages:
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


def _origins(parent: _Table, name: str, kinds: Mapping[str, Any]) -> tuple[Any, ...]:
    origins: list[Any] = []
    for table in parent.tables(name):
        kind = table.text("kind")
        if kind not in kinds:
            raise table.fault("kind", f"must be one of {', '.join(kinds)}, found {kind!r}")
        origin_name = table.text("name", _NAME)
        if origin_name in {origin.name for origin in origins}:
            raise table.fault("name", f"{origin_name!r} is there twice")
        origins.append(kinds[kind](table, origin_name, table.flag("auto", default=True)))
        table.end()
    if not origins[0].auto:
        raise parent.fault(name, "the first origin must be usable automatically")
    return tuple(origins)


def _cmake(table: _Table) -> tuple[tuple[str, str], ...]:
    return tuple((key, table.text(key)) for key in list(table.values))


def _image(table: _Table, name: str, shared: tuple[tuple[str, str], ...]) -> Image:
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


def load_images(path: Path = IMAGES_FILE) -> Images:
    """Read and check ``images/images.toml``.

    Raises ToolError naming the file and the key for anything missing, unknown or malformed.
    """
    top = _read(path)
    shared = _cmake(top.table("cmake"))
    loaded = Images(
        repository=top.text("repository", _NAME),
        source=top.text("source"),
        licence=top.text("licence"),
        llama_cpp=_origins(top, "llama_cpp", _SOURCE_KINDS),
        base=_origins(top, "base", _BASE_KINDS),
        cuda=_origins(top, "cuda", _CUDA_KINDS),
        images={
            name: _image(table, name, shared) for name, table in top.named_tables("images").items()
        },
    )
    top.end()
    return loaded


def _model_file(table: _Table, quantisation: str) -> ModelFile:
    sha256 = table.text("sha256", re.compile(f"{_SHA256.pattern}|{FROM_HUB}"))
    size = None
    if sha256 == FROM_HUB:
        table.text("bytes", re.compile(FROM_HUB))
    else:
        size = table.positive("bytes")
    file = ModelFile(quantisation, table.text("name"), sha256, size)
    table.end()
    return file


def _shape(table: _Table) -> Shape:
    architecture = table.text("architecture")
    if architecture not in ("eurobert", "qwen3"):
        raise table.fault("architecture", f"must be eurobert or qwen3, found {architecture!r}")
    shape = Shape(
        architecture=cast(Literal["eurobert", "qwen3"], architecture),
        causal=table.flag("causal"),
        layers=table.positive("layers"),
        heads=table.positive("heads"),
        kv_heads=table.positive("kv_heads"),
        head_dim=table.positive("head_dim"),
        ffn=table.positive("ffn"),
        vocabulary=table.positive("vocabulary"),
        rope_base=table.real("rope_base"),
        rms_eps=table.real("rms_eps"),
    )
    if shape.heads % shape.kv_heads:
        raise table.fault("kv_heads", f"must divide heads ({shape.heads})")
    table.end()
    return shape


def _serve(table: _Table, context: int) -> Serve:
    serve = Serve(*(table.positive(field.name) for field in fields(Serve)))
    if serve.ctx_size < context:
        raise table.fault("ctx_size", f"must be at least the model's context, {context}")
    table.end()
    return serve


def _model(table: _Table, name: str, default_quantisation: str) -> Model:
    dims = table.positive("dims")
    matryoshka = table.sequence("matryoshka", int)
    if list(matryoshka) != sorted(set(matryoshka)):
        raise table.fault("matryoshka", "must be ascending, each size once")
    if matryoshka[-1] != dims:
        raise table.fault("dims", f"{dims} must be the last of matryoshka {list(matryoshka)}")
    context = table.positive("context")
    pooling = table.text("pooling")
    if pooling != "last":
        raise table.fault("pooling", f"only last-token pooling is known, found {pooling!r}")
    files = {
        quantisation: _model_file(file, quantisation)
        for quantisation, file in table.named_tables("files").items()
    }
    if default_quantisation not in files:
        raise table.fault("files", f"lacks the default quantisation {default_quantisation}")
    model = Model(
        name=name,
        repository=table.text("repository"),
        revision=table.text("revision", _COMMIT),
        dims=dims,
        matryoshka=matryoshka,
        context=context,
        pooling=pooling,
        files=files,
        shape=_shape(table.table("shape")),
        serve=_serve(table.table("serve"), context),
    )
    table.end()
    return model


def load_models(path: Path = MODELS_FILE) -> Models:
    """Read and check ``models/models.toml``.

    Raises ToolError naming the file and the key for anything missing, unknown or malformed.
    """
    top = _read(path)
    default = top.text("default_quantisation")
    prefixes = top.table("prefixes")
    loaded = Models(
        licence=top.text("licence"),
        licence_url=top.text("licence_url"),
        default_quantisation=default,
        query_prefix=prefixes.text("query"),
        document_prefix=prefixes.text("document"),
        models={
            name: _model(table, name, default) for name, table in top.named_tables("models").items()
        },
    )
    prefixes.end()
    top.end()
    return loaded
