"""The cuda image's own promises, and what of them can be checked without building it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.containers import composed, docker, is_cuda, label
from tests.support.requirements import need
from tools.engine.docker import engine_platform, run_docker
from tools.facts.images import CudaOrigin, CudaPackages, load_images
from tools.facts.models import load_models
from tools.facts.paths import COMPOSE_FILE, CUDA_COMPOSE_FILE
from tools.images.build import build_toolkit
from tools.images.labels import CUDA_ARCHITECTURES_LABEL, CUDA_ORIGIN_LABEL, CUDA_PTX_LABEL
from tools.images.recipe import CONTEXT, cuda_arguments
from tools.origins.choose import choose, resolve_base

IMAGES = load_images()


# ------------------------------------------------------------------ without the image


@pytest.mark.parametrize("origin", [None, *IMAGES.cuda], ids=lambda each: each and each.name)
def test_the_dockerfile_has_the_stages_of_each_origin(
    origin: CudaOrigin | None, engine: None, tmp_path: Path
) -> None:
    """BuildKit resolves every stage that the runtime needs, and lists its arguments."""
    arguments = cuda_arguments(origin)
    base = resolve_base(IMAGES, choose([]), engine_platform()).value
    outline = run_docker(
        [
            *("buildx", "build", "--print=outline", "--target=runtime"),
            *(word for item in arguments.items() for word in ("--build-arg", "=".join(item))),
            *("--build-context", f"base=docker-image://{base}"),
            *("--build-context", f"toolbase=docker-image://{base}"),
            *("--build-context", f"llama-cpp={tmp_path}"),
            str(CONTEXT),
        ],
        # buildx 0.13 has --print behind this variable.
        environment={**os.environ, "BUILDX_EXPERIMENTAL": "1"},
        timeout=120,
    )
    assert outline.returncode == 0, outline.stderr
    # Lines of an argument, its value and perhaps a description, in columns.
    listed = dict(re.findall(r"^(\w+) {2,}(\S+(?: \S+)*)", outline.stdout, re.MULTILINE))
    assert listed.items() >= arguments.items(), outline.stdout


@pytest.mark.parametrize(
    "origin",
    [each for each in IMAGES.cuda if isinstance(each, CudaPackages)],
    ids=lambda each: each.name,
)
def test_the_archive_has_the_packages(origin: CudaPackages, engine: None) -> None:
    """They and all that they depend on are found, without installing any."""
    base = resolve_base(IMAGES, choose([]), engine_platform()).value
    simulate = "apt-get install --simulate --no-install-recommends"
    script = (
        "sh /add-components contrib non-free && apt-get --quiet update && "
        f"{simulate} {' '.join(origin.toolkit)} && {simulate} {' '.join(origin.libraries)}"
    )
    mount = f"{CONTEXT / 'add-components'}:/add-components:ro"
    said = docker("run", "--rm", "--volume", mount, base, "sh", "-euc", script, timeout=300)
    versions = re.findall(r"^Inst nvidia-cuda-toolkit \((\S+)", said, re.MULTILINE)
    assert [version.startswith(f"{origin.version}.") for version in versions] == [True]


@pytest.mark.parametrize("model", sorted(load_models().models))
def test_the_gpu_override_changes_what_it_says_and_nothing_else(model: str, engine: None) -> None:
    alone, merged = composed(model, COMPOSE_FILE), composed(model, COMPOSE_FILE, CUDA_COMPOSE_FILE)
    changed = {key for key in alone | merged if alone.get(key) != merged.get(key)}
    assert changed == {"image", "deploy", "mem_limit", "environment"}
    assert merged["environment"] == alone["environment"] | {
        "LLAMA_ARG_N_GPU_LAYERS": "999",
        "JINA_REQUIRE_GPU": "1",
    }
    (device,) = merged["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}


# ------------------------------------------------------------------ the image


@pytest.fixture(scope="module")
def cuda_image(image: str, pytestconfig: pytest.Config) -> str:
    """The image under test, which must be of the cuda flavour."""
    why = "the image under test is not the cuda one; `--image jina-embeddings-v5:cuda`"
    need(pytestconfig, "cuda-image", available=is_cuda(image), why=why)
    return image


@pytest.fixture(scope="module")
def library(cuda_image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CUDA backend, copied out of the image."""
    folder = tmp_path_factory.mktemp("cuda")
    container = docker("create", cuda_image)
    try:
        docker("cp", f"{container}:/app/libggml-cuda.so", str(folder))
    finally:
        docker("rm", container)
    return folder / "libggml-cuda.so"


def test_it_has_code_for_the_architectures_that_its_labels_name(
    cuda_image: str, library: Path
) -> None:
    """Read out of the library itself: what is missing would be compiled at each start, or fail."""
    origin = label(cuda_image, CUDA_ORIGIN_LABEL)
    toolkit = build_toolkit(IMAGES, choose([origin]))
    found = docker(
        *("run", "--rm", "--network", "none", "--volume", f"{library.parent}:/library:ro"),
        *("--entrypoint", "sh", toolkit, "-euc"),
        "cuobjdump --list-elf /library/libggml-cuda.so; "
        "cuobjdump --list-ptx /library/libggml-cuda.so",
        timeout=300,
    )
    # Lines such as "ELF file    1: name.1.sm_90.cubin"; 12.0 is there as sm_120a.
    code = set(re.findall(r"\.sm_(\d+)a?\.cubin$", found, re.MULTILINE))
    ptx = set(re.findall(r"\.sm_(\d+)a?\.ptx$", found, re.MULTILINE))
    assert code == set(label(cuda_image, CUDA_ARCHITECTURES_LABEL).split(","))
    assert ptx == {label(cuda_image, CUDA_PTX_LABEL)} - {"none"}


def test_its_architectures_are_of_the_catalogue(cuda_image: str) -> None:
    named = {int(each) for each in label(cuda_image, CUDA_ARCHITECTURES_LABEL).split(",")}
    assert named <= set(IMAGES.images["cuda"].cuda_architectures)


def test_it_carries_only_the_cuda_libraries_that_it_loads(cuda_image: str) -> None:
    """Where the base is Debian's; NVIDIA's runtime image brings its own."""
    script = (
        "ldd /app/libggml-cuda.so; echo; find / -xdev -name 'libcu*.so.*' -o -name 'libnv*.so.*'"
    )
    run = ["run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh"]
    loaded, there = docker(*run, cuda_image, "-euc", script).split("\n\n")
    if label(cuda_image, CUDA_ORIGIN_LABEL) in {
        each.name for each in IMAGES.cuda if isinstance(each, CudaPackages)
    }:
        families = {Path(each).name.partition(".")[0] for each in there.split()}
        assert families == {"libcudart", "libcublas", "libcublasLt"}
        assert all(f"{family}.so" in loaded for family in families)
