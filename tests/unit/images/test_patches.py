"""The patch series as files: complete, in order, and each with its reasons."""

from __future__ import annotations

import re

import pytest

from tools.images.recipe import PATCHES, patch_names


def test_patches_are_numbered_without_gaps() -> None:
    assert [name[:5] for name in patch_names()] == [
        f"{number:04}-" for number in range(1, len(patch_names()) + 1)
    ]


@pytest.mark.parametrize("name", patch_names())
def test_a_patch_says_what_why_and_when_it_can_be_dropped(name: str) -> None:
    header, _, body = (PATCHES / f"{name}.patch").read_text().partition("\n--- ")
    for word in ("What:", "Why:", "Drop:"):
        assert re.search(rf"^{word}\s+\S", header, re.MULTILINE), word
    assert body


def test_every_file_of_ours_is_built() -> None:
    patches = "".join(path.read_text() for path in PATCHES.glob("*.patch"))
    ours = [path for path in (PATCHES / "files").rglob("*") if path.is_file()]
    assert ours
    for path in ours:
        name = re.escape(path.name)
        # Named in a CMakeLists.txt, or a header that a patch includes.
        built = rf'^\+\s+(ggml-cpu/)?{name}$|^\+#include "{name}"$'
        assert re.search(built, patches, re.MULTILINE), path
