"""Build an image from the first of its pinned origins that answers: `nox -s build`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.common.console import say
from tools.common.errors import ToolError, run_verb
from tools.engine.docker import engine_platform, image_field
from tools.engine.ensure import ensure_engine
from tools.facts.images import (
    BaseOrigin,
    CudaOrigin,
    Image,
    ImageOrigin,
    Images,
    SourceOrigin,
    load_images,
    local_name,
)
from tools.facts.models import Models, load_models
from tools.images.cuda import (
    Cuda,
    add_cuda_argument,
    choose_architectures,
    cmake_flag,
    wanted_architectures,
)
from tools.images.labels import Base, labels, short_commit
from tools.images.recipe import comma_list, cuda_arguments, patch_names
from tools.images.stage import build_stage
from tools.images.toolchain import read_toolchain
from tools.images.version import read_revision
from tools.origins.choose import (
    Choice,
    CudaBases,
    Resolved,
    add_origin_argument,
    choose,
    naming_origin,
    resolve_base,
    resolve_cuda,
    resolve_source,
)

#: Comes after the catalogue's flags. ggml then compiles what its options have by default: AVX2,
#: FMA, F16C and BMI2 on x86-64, on arm64 what every CPU has (ggml/CMakeLists.txt, INS_ENB).
ONE_VARIANT = "-DGGML_CPU_ALL_VARIANTS=OFF"


def describe_base(base: Resolved[BaseOrigin, str]) -> Base:
    """Return what the labels say of a base: for a bootstrapped one, its digest in the engine."""
    if isinstance(base.origin, ImageOrigin):
        return Base(base.origin.reference, base.origin.digest, base.origin.name)
    image_id = image_field(base.value, ".Id")
    return Base(f"debian:{base.origin.suite} (bootstrapped)", image_id, base.origin.name)


def build_image(
    images: Images,
    image: Image,
    choice: Choice,
    *,
    tag: str | None = None,
    patches: Sequence[str] | None = None,
    cuda_architectures: Sequence[int] = (),
    platform: str | None = None,
    one_variant: bool = False,
) -> str:
    """Build ``image`` and return its local name; ``tag`` replaces the usual one.

    ``patches`` are the names of those to apply; without any given, the whole series is. CUDA
    images are compiled for ``cuda_architectures``, or for all that the catalogue lists.
    ``platform`` is one of the image's, the engine's own without any given; another one is
    cross-compiled. ``one_variant`` compiles one variant of the CPU kernels instead of all, into an
    image of another name; for x86-64 it needs AVX2. The local name moves to the new image only when
    all of it was built. Raises ToolError for another platform, when an input cannot be had, or when
    the build fails (SourceFault where that is llama.cpp's doing).
    """
    ensure_engine()
    own = engine_platform()
    platform = platform or own
    _check_platform(image, platform, own)
    name = tag or local_name(
        images, image, None if platform == own else platform, one_variant=one_variant
    )
    inputs = _resolve(images, image, choice, platform)
    compiled = None
    if inputs.cuda is not None:
        chosen = choose_architectures(image, inputs.cuda, cuda_architectures)
        compiled = Cuda(inputs.cuda, chosen)
    applied = patch_names() if patches is None else tuple(patches)
    started = time.monotonic()
    say(f"building {name}")
    toolchain = read_toolchain(inputs.contexts, platform)
    with naming_origin(inputs.source.origin, f"nox -s build -- {image.name}"):
        revision = read_revision()
        build_stage(
            name.partition(":")[2],
            "runtime",
            platform,
            inputs.contexts,
            arguments={
                **cuda_arguments(inputs.cuda),
                "SOURCE_DATE_EPOCH": str(revision.time),
                "CMAKE_FLAGS": _cmake_flags(image, compiled, one_variant=one_variant),
                "LLAMA_COMMIT": short_commit(inputs.source.origin),
                "PATCHES": " ".join(applied),
                **_model_arguments(load_models()),
            },
            image_labels=labels(
                images,
                image,
                inputs.source.origin,
                describe_base(inputs.base),
                revision,
                patches=applied,
                toolchain=toolchain,
                cuda=compiled,
                one_variant=one_variant,
            ),
            tag=name,
        )
    size = int(image_field(name, ".Size"))
    say(f"built {name}: {size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return name


@dataclass(frozen=True)
class _Inputs:
    """What an image is made of: llama.cpp, the base, what it is compiled in, and CUDA's toolkit."""

    source: Resolved[SourceOrigin, Path]
    base: Resolved[BaseOrigin, str]
    toolbase: str
    cuda: CudaOrigin | None

    @property
    def contexts(self) -> dict[str, str | Path]:
        """The named build contexts of the Dockerfile."""
        return {
            "base": f"docker-image://{self.base.value}",
            "toolbase": f"docker-image://{self.toolbase}",
            "llama-cpp": self.source.value,
        }


def _resolve(images: Images, image: Image, choice: Choice, platform: str) -> _Inputs:
    source = resolve_source(images, choice)
    cuda = resolve_cuda(images, choice, platform) if image.cuda_architectures else None
    toolbase, base = _bases(images, choice, cuda, platform)
    return _Inputs(source, base, toolbase, cuda.origin if cuda else None)


def _cmake_flags(image: Image, cuda: Cuda | None, *, one_variant: bool) -> str:
    flags = [image.cmake_flags]
    if one_variant:
        flags.append(ONE_VARIANT)
    if cuda is not None:
        flags.append(cmake_flag(cuda.architectures))
    return " ".join(flags)


def _model_arguments(models: Models) -> dict[str, str]:
    return {
        "QUERY_PREFIX": models.query_prefix,
        "DOCUMENT_PREFIX": models.document_prefix,
        "MATRYOSHKA": comma_list(models.shared_matryoshka),
        "MODELS": models.served,
    }


def _check_platform(image: Image, platform: str, own: str) -> None:
    """Raise ToolError where ``image`` is not made for ``platform``, or not on an engine of ``own``.

    The CUDA toolkit is in images of its platform only, and compiles for that one.
    """
    if platform not in image.platforms:
        raise ToolError(
            f"{image.name} is not made for {platform}, only for {' and '.join(image.platforms)} "
            "(images.toml)"
        )
    if image.cuda_architectures and platform != own:
        raise ToolError(f"{image.name} for {platform} is made on {platform} only, this is {own}")


def build_toolkit(images: Images, choice: Choice) -> str:
    """Build only what CUDA images are compiled in, and return its local name.

    Raises ToolError when an input cannot be had or the build fails.
    """
    ensure_engine()
    platform = engine_platform()
    cuda = resolve_cuda(images, choice, platform)
    toolbase, _ = _bases(images, choice, cuda, platform)
    name = f"{images.repository}:toolkit-{cuda.origin.name}"
    arguments = cuda_arguments(cuda.origin)
    build_stage(
        f"toolkit-{cuda.origin.name}",
        f"toolkit-{arguments['CUDA']}",
        platform,
        {"toolbase": f"docker-image://{toolbase}"},
        arguments=arguments,
        tag=name,
    )
    return name


def _bases(
    images: Images,
    choice: Choice,
    cuda: Resolved[CudaOrigin, CudaBases | None] | None,
    platform: str,
) -> tuple[str, Resolved[BaseOrigin, str]]:
    """Return the reference of what to compile in, and what the image is built on."""
    if cuda is not None and cuda.value is not None:
        return cuda.value.devel.value, cuda.value.runtime
    base = resolve_base(images, choice, platform)
    own = engine_platform()
    toolbase = base if platform == own else resolve_base(images, choice, own)
    return toolbase.value, base


def _parser(images: Images) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s build --", description=__doc__)
    parser.add_argument("image", nargs="?", choices=sorted(images.images), default="cpu")
    parser.add_argument("--tag", help="the local name to give instead of the usual one")
    parser.add_argument(
        "--platform", help="build for another platform than the engine's own, such as linux/arm64"
    )
    parser.add_argument(
        "--one-variant",
        action="store_true",
        help="compile one variant of the CPU kernels instead of all, in half the time, as "
        "IMAGE-one-variant; it needs a CPU with AVX2, and is never published",
    )
    parser.add_argument(
        "--no-patches", action="store_true", help="build the bare source, without images/patches"
    )
    add_cuda_argument(parser)
    add_origin_argument(parser)
    return parser


def main(arguments: Sequence[str]) -> None:
    """Build one image flavour, as the command line says."""
    images = load_images()
    options = _parser(images).parse_args(arguments)
    image = images.images[options.image]
    build_image(
        images,
        image,
        choose(options.origin),
        tag=options.tag,
        patches=() if options.no_patches else None,
        cuda_architectures=wanted_architectures(image, options.cuda_arch),
        platform=options.platform,
        one_variant=options.one_variant,
    )


if __name__ == "__main__":
    sys.exit(run_verb(main))
