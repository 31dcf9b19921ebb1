"""Intel AMX where the CPU has none: a library for containers that emulates its instructions."""

from __future__ import annotations

from pathlib import Path

from tools.common.cache import cache_dir, locked
from tools.engine.docker import engine_platform
from tools.facts.images import load_images
from tools.images.stage import build_folder
from tools.origins.choose import Choice, resolve_base

#: What the library says on its standard error before it first multiplies tiles.
SAID = "amx: tile instructions are emulated"


def build_emulator() -> Path:
    """Compile amx.c on the base image and return the library, to be preloaded in a container.

    The engine's cache makes it once. Raises ToolError where the base cannot be had, or the
    compiler not installed.
    """
    base = resolve_base(load_images(), Choice(), engine_platform())
    folder = cache_dir() / "amx"
    with locked(folder):
        build_folder(
            "amx",
            Path(__file__).parent,
            {"base": f"docker-image://{base.value}"},
            output=f"type=local,dest={folder}",
        )
    return folder / "libamx.so"
