"""Build an image from the first of its pinned origins that answers: `nox -s build`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from python_on_whales.exceptions import DockerException

from tools.common.console import say
from tools.common.errors import ToolError, run_verb
from tools.engine.docker import docker_client, engine_platform
from tools.engine.ensure import ensure_engine
from tools.facts.images import (
    ROOT,
    BaseOrigin,
    CudaImages,
    CudaOrigin,
    Image,
    ImageOrigin,
    Images,
    load_images,
    load_models,
)
from tools.images.build_log import LOGS, run_build
from tools.images.cuda import (
    Cuda,
    add_cuda_argument,
    choose_architectures,
    cmake_flag,
    wanted_architectures,
)
from tools.images.labels import Base, labels, local_name, read_revision, short_commit
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

CONTEXT = ROOT / "images"
PATCHES = CONTEXT / "patches"
#: Comes after the catalogue's flags. ggml then compiles what its options have by default: AVX2,
#: FMA, F16C and BMI2 on x86-64, on arm64 what every CPU has (ggml/CMakeLists.txt, INS_ENB).
ONE_VARIANT = "-DGGML_CPU_ALL_VARIANTS=OFF"


def describe_base(base: Resolved[BaseOrigin, str]) -> Base:
    """Return what the labels say of a base: for a bootstrapped one, its digest in the engine."""
    if isinstance(base.origin, ImageOrigin):
        return Base(base.origin.reference, base.origin.digest, base.origin.name)
    image_id = docker_client().image.inspect(base.value).id
    return Base(f"debian:{base.origin.suite} (bootstrapped)", image_id, base.origin.name)


def patch_names() -> tuple[str, ...]:
    """Return the names of the patch series, in the order in which it is applied."""
    return tuple(sorted(path.stem for path in PATCHES.glob("*.patch")))


def comma_list(numbers: Sequence[int]) -> str:
    """Write numbers as the patched server reads a list of them."""
    return ",".join(map(str, numbers))


def read_toolchain(contexts: Mapping[str, str | Path], platform: str) -> str:
    """Return the compiler that a build with these contexts uses, such as ``gcc 14.2.0``.

    It is asked in the build's own toolchain stage. Raises ToolError when that fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        _run("toolchain", "compiler", platform, contexts, output=f"type=local,dest={folder}")
        return f"gcc {(Path(folder) / 'compiler-version').read_text().strip()}"


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
    other = None if platform == own else platform
    name = tag or local_name(images, image, other, one_variant=one_variant)
    source = resolve_source(images, choice)
    cuda = resolve_cuda(images, choice, platform) if image.cuda_architectures else None
    toolbase, base = _bases(images, choice, cuda, platform)
    flags = f"{image.cmake_flags} {ONE_VARIANT}" if one_variant else image.cmake_flags
    compiled = None
    if cuda is not None:
        chosen = choose_architectures(image, cuda.origin, cuda_architectures)
        compiled = Cuda(cuda.origin, chosen)
        flags = f"{flags} {cmake_flag(chosen)}"
    revision = read_revision()
    models = load_models()
    applied = patch_names() if patches is None else tuple(patches)
    started = time.monotonic()
    say(f"building {name}")
    contexts: dict[str, str | Path] = {
        "base": f"docker-image://{base.value}",
        "toolbase": f"docker-image://{toolbase}",
        "llama-cpp": source.value,
    }
    toolchain = read_toolchain(contexts, platform)
    with naming_origin(source.origin, f"nox -s build -- {image.name}"):
        _run(
            name.partition(":")[2],
            "runtime",
            platform,
            contexts,
            arguments={
                **cuda_arguments(cuda.origin if cuda else None),
                "SOURCE_DATE_EPOCH": str(revision.time),
                "CMAKE_FLAGS": flags,
                "LLAMA_COMMIT": short_commit(source.origin),
                "PATCHES": " ".join(applied),
                "QUERY_PREFIX": models.query_prefix,
                "DOCUMENT_PREFIX": models.document_prefix,
                "MATRYOSHKA": comma_list(models.shared_matryoshka),
            },
            image_labels=labels(
                images,
                image,
                source.origin,
                describe_base(base),
                revision,
                patches=applied,
                toolchain=toolchain,
                cuda=compiled,
                one_variant=one_variant,
            ),
            tag=name,
        )
    size = docker_client().image.inspect(name).size
    say(f"built {name}: {size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return name


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
    _run(
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


def cuda_arguments(origin: CudaOrigin | None) -> dict[str, str]:
    """Return what the Dockerfile's arguments say of the CUDA toolkit; None: an image without."""
    if origin is None:
        return {"CUDA": "none"}
    if isinstance(origin, CudaImages):
        return {"CUDA": "images"}
    return {
        "CUDA": "packages",
        "CUDA_TOOLKIT": " ".join(origin.toolkit),
        "CUDA_LIBRARIES": " ".join(origin.libraries),
    }


def _run(
    log_name: str,
    target: str,
    platform: str,
    contexts: Mapping[str, str | Path],
    *,
    arguments: Mapping[str, str] | None = None,
    image_labels: Mapping[str, str] | None = None,
    output: str | None = None,
    tag: str | None = None,
) -> None:
    """Build one stage of the Dockerfile into ``output``, or as the local image ``tag``.

    Each step is a line here, and all of it is in the log of that name.
    """
    settings = [
        *(f"--build-context={name}={where}" for name, where in contexts.items()),
        *(f"--build-arg={name}={value}" for name, value in (arguments or {}).items()),
        *(f"--label={name}={value}" for name, value in (image_labels or {}).items()),
    ]
    result = [f"--output={output}"] if output else ["--load", f"--tag={tag}"]
    command = [
        *docker_client().docker_cmd,
        *("buildx", "build", "--progress=plain", "--provenance=false"),
        *(f"--file={CONTEXT / 'Dockerfile'}", f"--target={target}", f"--platform={platform}"),
        *settings,
        *result,
        str(CONTEXT),
    ]
    run_build(command, LOGS / f"build-{log_name}.log")


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn a failed build of ``name``, whose output was shown, into a ToolError."""
    try:
        yield
    except DockerException as error:
        raise ToolError(
            f"the build of {name} failed (exit code {error.return_code}); "
            "what went wrong is in the lines above"
        ) from None


def main(arguments: Sequence[str]) -> None:
    """Build one image flavour, as the command line says."""
    images = load_images()
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
    options = parser.parse_args(arguments)
    image = images.images[options.image]
    patches = () if options.no_patches else None
    build_image(
        images,
        image,
        choose(options.origin),
        tag=options.tag,
        patches=patches,
        cuda_architectures=wanted_architectures(image, options.cuda_arch),
        platform=options.platform,
        one_variant=options.one_variant,
    )


if __name__ == "__main__":
    sys.exit(run_verb(main))
