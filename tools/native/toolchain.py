"""The programs of this machine that a native build needs."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from collections.abc import Sequence

from tools.common.distribution import read_distribution
from tools.common.errors import ToolError
from tools.common.processes import run_bounded
from tools.facts.images import CudaPackages

#: The packages that have the tools, by distribution.
_INSTALL = {
    "debian": "apt-get install --no-install-recommends",
    "ubuntu": "apt-get install --no-install-recommends",
    "fedora": "dnf install",
}
_PACKAGES = {
    "cmake": {"": "cmake"},
    "ninja": {"": "ninja-build"},
    "patch": {"": "patch"},
    "cc": {"": "gcc"},
    "c++": {"": "g++", "fedora": "gcc-c++"},
}
#: The toolkit is no package of every distribution.
_NVCC_ADVICE = (
    "nvcc is part of the CUDA toolkit (Debian: nvidia-cuda-toolkit, from non-free; all others: "
    "https://docs.nvidia.com/cuda/cuda-installation-guide-linux/); where it is installed, put its "
    "bin folder on PATH"
)


def search_path() -> str:
    """Return PATH with where pip puts programs, and where NVIDIA's installer puts nvcc."""
    return os.pathsep.join(
        [os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts"), "/usr/local/cuda/bin"]
    )


def find_tools(*, cuda: bool) -> dict[str, str]:
    """Return the path of each program that the build needs.

    CC, CXX and CUDACXX name other compilers, as for cmake. Raises ToolError naming all that are
    missing, with this platform's command.
    """
    names = {
        "cmake": "cmake",
        "ninja": "ninja",
        "patch": "patch",
        "cc": os.environ.get("CC", "cc"),
        "c++": os.environ.get("CXX", "c++"),
    }
    if cuda:
        names["nvcc"] = os.environ.get("CUDACXX", "nvcc")
    found = {tool: shutil.which(name, path=search_path()) for tool, name in names.items()}
    missing = [tool for tool, path in found.items() if path is None]
    if missing:
        raise ToolError(missing_tools(missing, read_distribution().id))
    return {tool: path for tool, path in found.items() if path is not None}


def missing_tools(missing: Sequence[str], distribution: str) -> str:
    """Say which programs are missing and what installs them on this distribution."""
    lines = [f"the build needs {', '.join(missing)}, which this machine lacks"]
    packages = [
        _PACKAGES[tool].get(distribution, _PACKAGES[tool][""])
        for tool in missing
        if tool in _PACKAGES
    ]
    if packages and distribution in _INSTALL:
        lines.append(f"  sudo {_INSTALL[distribution]} {' '.join(packages)}")
    elif packages:
        lines.append("install them with this platform's package manager")
    if "nvcc" in missing:
        lines.append(f"  {_NVCC_ADVICE}")
    return "\n".join(lines)


def first_line(command: Sequence[str]) -> str:
    """Run a command and return the first line that it prints."""
    result = run_bounded(command, timeout=60)
    return (result.stdout.splitlines() or [""])[0]


def host_toolkit(nvcc: str) -> CudaPackages:
    """Return what the CUDA toolkit of this machine is: its release, and what it can compile for."""
    version = run_bounded([nvcc, "--version"], timeout=60).stdout
    known = run_bounded([nvcc, "--list-gpu-arch"], timeout=60).stdout
    release = re.search(r"release (\d+\.\d+)", version)
    architectures = [int(each) for each in re.findall(r"^compute_(\d+)$", known, re.MULTILINE)]
    if release is None or not architectures:
        raise ToolError(f"{nvcc} is no nvcc that we know: it printed\n{version}{known}")
    return CudaPackages(
        name="this machine",
        auto=False,
        version=release.group(1),
        newest=max(architectures),
        toolkit=(),
        libraries=(),
    )
