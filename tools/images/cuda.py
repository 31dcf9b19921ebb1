"""Which GPU architectures a CUDA build has code for, and how cmake is told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from tools.common.errors import ToolError
from tools.facts.images import CudaOrigin, Image

#: ggml compiles 12.0 and newer as the architecture-specific 12.0a (its ggml-cuda/CMakeLists.txt),
#: whose PTX no other GPU can run.
_FIRST_EXACT = 120


@dataclass(frozen=True)
class Cuda:
    """What an image's CUDA code was compiled with, and for which architectures."""

    origin: CudaOrigin
    architectures: tuple[int, ...]


def add_cuda_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--cuda-arch``; its values go to :func:`wanted_architectures`."""
    parser.add_argument(
        "--cuda-arch",
        action="append",
        type=int,
        default=[],
        metavar="NUMBER",
        help="compile only for this GPU architecture, such as 90; may be repeated",
    )


def wanted_architectures(image: Image, wanted: Sequence[int]) -> Sequence[int]:
    """Return the values of ``--cuda-arch``; raises ToolError for an image without CUDA."""
    if wanted and not image.cuda_architectures:
        raise ToolError(f"--cuda-arch: the image {image.name} has no CUDA; did you mean `-- cuda`?")
    return wanted


def choose_architectures(
    image: Image, origin: CudaOrigin, wanted: Sequence[int] = ()
) -> tuple[int, ...]:
    """Return the architectures to compile for, ascending: the wanted ones, or all that can be had.

    Raises ToolError for one that the image is not made for, or that the toolkit does not know.
    """
    possible = tuple(each for each in image.cuda_architectures if each <= origin.newest)
    for architecture in wanted:
        if architecture not in possible:
            raise ToolError(
                f"--cuda-arch {architecture}: with CUDA {origin.version} from origin "
                f"{origin.name} there are {', '.join(map(str, possible))}"
            )
    return tuple(sorted(set(wanted))) or possible


def ptx_architecture(architectures: Sequence[int]) -> int | None:
    """Return the architecture to add PTX for: the newest whose PTX newer GPUs can compile."""
    return max((each for each in architectures if each < _FIRST_EXACT), default=None)


def cmake_flag(architectures: Sequence[int]) -> str:
    """Return the flag that compiles real code for each architecture, and PTX for one.

    ``-real`` is machine code only, a bare number both (cmake's CUDA_ARCHITECTURES).
    """
    ptx = ptx_architecture(architectures)
    values = [f"{each}" if each == ptx else f"{each}-real" for each in architectures]
    return f"-DCMAKE_CUDA_ARCHITECTURES={';'.join(values)}"
