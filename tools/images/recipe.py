"""What the Dockerfile is given: its folder, the patches, and its arguments."""

from __future__ import annotations

from collections.abc import Sequence

from tools.facts.images import (
    CudaImages,
    CudaOrigin,
)
from tools.facts.paths import ROOT

CONTEXT = ROOT / "images"
PATCHES = CONTEXT / "patches"


def patch_names() -> tuple[str, ...]:
    """Return the names of the patch series, in the order in which it is applied."""
    return tuple(sorted(path.stem for path in PATCHES.glob("*.patch")))


def comma_list(numbers: Sequence[int]) -> str:
    """Write numbers as the patched server reads a list of them."""
    return ",".join(map(str, numbers))


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
