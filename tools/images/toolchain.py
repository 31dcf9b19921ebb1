"""The compiler that an image is built with, and the one that must not build it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from tools.common.files import temporary_folder
from tools.images.stage import build_stage


def read_toolchain(contexts: Mapping[str, str | Path], platform: str) -> str:
    """Return the compiler that a build with these contexts uses, such as ``gcc 14.2.0``.

    It is asked in the build's own toolchain stage. Raises ToolError when that fails.
    """
    with temporary_folder() as folder:
        build_stage("toolchain", "compiler", platform, contexts, output=f"type=local,dest={folder}")
        return f"gcc {(folder / 'compiler-version').read_text().strip()}"


#: GCC before 13.3 has _tile_loadconfig as assembly that names eight of the 64 bytes it reads
#: (its amxtileintrin.h), so ggml's tile configuration is optimised away and a quantised model
#: ends the server with SIGILL. 13.2.1 made it a builtin (llama.cpp issue 9473).
GCC_WITH_AMX = Version("13.3")
AMX_LIBRARY = "libggml-cpu-sapphirerapids.so"


def amx_is_miscompiled(compiler: str) -> bool:
    """Tell whether the first line of ``c++ --version`` is of a GCC that breaks AMX."""
    # GCC's line is "PROGRAM (who built it) VERSION"; clang and others say their names.
    version = re.fullmatch(r"\S*(?:g\+\+|gcc|c\+\+|cc)\S* \(.*\) (\d+(?:\.\d+)+)\b.*", compiler)
    return version is not None and Version(version.group(1)) < GCC_WITH_AMX
