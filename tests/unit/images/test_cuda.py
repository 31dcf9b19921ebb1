"""Which GPU architectures a build has code for, and what the Dockerfile is told of the toolkit."""

from __future__ import annotations

import pytest

import tools.images.build
from tools.common.errors import ToolError
from tools.facts.images import CudaImages, CudaPackages, load_images
from tools.images.build import main as build
from tools.images.cuda import choose_architectures, cmake_flag, ptx_architecture
from tools.images.recipe import cuda_arguments

IMAGES = load_images()
CUDA = IMAGES.images["cuda"]
NVIDIA, DEBIAN = IMAGES.cuda


def test_the_first_origin_is_nvidias_and_the_second_needs_no_registry() -> None:
    assert isinstance(NVIDIA, CudaImages)
    assert isinstance(DEBIAN, CudaPackages)


def test_all_architectures_that_the_toolkit_knows() -> None:
    assert choose_architectures(CUDA, NVIDIA) == (75, 80, 86, 89, 90, 100, 120)
    assert choose_architectures(CUDA, DEBIAN) == (75, 80, 86, 89, 90)


def test_the_wanted_architectures_once_and_in_order() -> None:
    assert choose_architectures(CUDA, DEBIAN, [90, 80, 90]) == (80, 90)


@pytest.mark.parametrize(("origin", "wanted"), [(DEBIAN, 120), (NVIDIA, 70), (NVIDIA, 9)])
def test_an_architecture_that_cannot_be_had_is_named_with_those_that_can(
    origin: CudaImages | CudaPackages, wanted: int
) -> None:
    with pytest.raises(ToolError, match=rf"--cuda-arch {wanted}: .* 75, 80, 86, 89, 90"):
        choose_architectures(CUDA, origin, [wanted])


@pytest.mark.parametrize(
    ("architectures", "ptx", "flag"),
    [
        ([90], 90, "90"),
        ([75, 90], 90, "75-real;90"),
        # 120 becomes 120a, whose PTX is of no use to newer GPUs; that of 100 is.
        ([90, 100, 120], 100, "90-real;100;120-real"),
        ([120], None, "120-real"),
    ],
)
def test_real_code_for_all_and_ptx_for_the_newest_that_is_portable(
    architectures: list[int], ptx: int | None, flag: str
) -> None:
    assert ptx_architecture(architectures) == ptx
    assert cmake_flag(architectures) == f"-DCMAKE_CUDA_ARCHITECTURES={flag}"


def test_cuda_is_only_in_the_image_that_is_named_for_it() -> None:
    assert dict(CUDA.cmake).items() > dict(IMAGES.images["cpu"].cmake).items()
    assert dict(CUDA.cmake)["GGML_CUDA"] == "ON"
    assert "GGML_CUDA" not in dict(IMAGES.images["cpu"].cmake)
    assert IMAGES.images["cpu"].cuda_architectures == ()


def test_the_dockerfile_is_told_where_the_toolkit_is_from() -> None:
    assert cuda_arguments(None) == {"CUDA": "none"}
    assert cuda_arguments(NVIDIA) == {"CUDA": "images"}
    assert cuda_arguments(DEBIAN) == {
        "CUDA": "packages",
        "CUDA_TOOLKIT": "nvidia-cuda-toolkit",
        "CUDA_LIBRARIES": "libcublas12 libcudart12",
    }


def test_architectures_of_an_image_without_cuda_are_refused() -> None:
    with pytest.raises(ToolError, match="the image cpu has no CUDA"):
        build(["cpu", "--cuda-arch", "90"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "cuda is not made for linux/arm64, only for linux/amd64"),
        (["--platform", "linux/amd64"], "cuda for linux/amd64 is made on linux/amd64 only"),
    ],
)
def test_an_arm_machine_is_told_that_it_makes_no_cuda(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.images.build, "ensure_engine", lambda: None)
    monkeypatch.setattr(tools.images.build, "engine_platform", lambda: "linux/arm64")
    with pytest.raises(ToolError, match=said):
        build(["cuda", *options])
