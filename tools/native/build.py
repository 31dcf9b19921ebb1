"""Build llama-server on this machine itself, as images/Dockerfile does inside an image.

The same pinned source, patches and cmake flags; what differs is the compiler, which is the
host's. Where it is done, the server and its libraries lie in one folder of the cache.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shutil
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from packaging.version import Version

from tools.common.cache import cache_dir, locked
from tools.common.console import loud, progress, say
from tools.common.errors import ToolError
from tools.common.processes import run_bounded, run_streamed
from tools.engine.ensure import read_distribution
from tools.facts.images import CudaPackages, Image, Images, SourceOrigin, load_images
from tools.images.build import PATCHES, patch_names
from tools.images.build_log import SourceFault, build_failure
from tools.images.cuda import choose_architectures, cmake_flag
from tools.images.labels import short_commit
from tools.origins.choose import Resolved, naming_origin
from tools.origins.trees import unpack

#: As in images/Dockerfile; tests/unit/native/test_native_build.py compares the two.
CMAKE_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_BUILD_RPATH=$ORIGIN",
    "-DLLAMA_BUILD_NUMBER=0",
)
#: The server with AddressSanitizer and UndefinedBehaviorSanitizer, by llama.cpp's own options, in
#: only the CPU variant of this machine: no other one runs, and each takes minutes to compile.
#: ggml has GGML_NATIVE only for a backend that is linked in, not loaded.
SANITIZED = "cpu-sanitized"
SANITIZE_FLAGS = (
    "-DLLAMA_SANITIZE_ADDRESS=ON",
    "-DLLAMA_SANITIZE_UNDEFINED=ON",
    "-DGGML_SANITIZE_ADDRESS=ON",
    "-DGGML_SANITIZE_UNDEFINED=ON",
    "-DGGML_BACKEND_DL=OFF",
    "-DGGML_CPU_ALL_VARIANTS=OFF",
    "-DGGML_NATIVE=ON",
)
PATCH_FLAGS = ("--strip=1", "--batch", "--forward", "--fuzz=0", "--ignore-whitespace")

#: GCC before 13.3 has _tile_loadconfig as assembly that names eight of the 64 bytes it reads
#: (its amxtileintrin.h), so ggml's tile configuration is optimised away and a quantised model
#: ends the server with SIGILL. 13.2.1 made it a builtin (llama.cpp issue 9473).
GCC_WITH_AMX = Version("13.3")
AMX_LIBRARY = "libggml-cpu-sapphirerapids.so"

#: The top folder of an archive is this and the origin's name.
_ARCHIVE_TOP = "llama.cpp-"

#: How ninja begins the line of each step.
_STEP = re.compile(r"\[(\d+)/(\d+)\] ")

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


@dataclass(frozen=True)
class Build:
    """A finished build: the folder of the server and its libraries, and what went into it."""

    folder: Path
    facts: Mapping[str, str]

    @property
    def server(self) -> Path:
        return self.folder / "llama-server"


def native_dir(flavour: str) -> Path:
    """Return the cache's folder for the builds of a flavour."""
    return cache_dir() / "native" / flavour


def find_build(flavour: str) -> Build:
    """Return the last finished build of an image's flavour, or SANITIZED.

    Raises ToolError where there is none, and where it is of another checkout's recipe: the cache is
    shared by all checkouts of a machine, and checks of this one do not fit another's server.
    """
    folder = native_dir(flavour) / "app"
    command = f"`nox -s native -- build {flavour}`"
    try:
        build = Build(folder, json.loads((folder / "build.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ToolError(f"there is no native {flavour} server yet; {command} makes it") from None
    if build.facts.get("recipe") != recipe(load_images(), flavour):
        raise ToolError(
            f"the native {flavour} server in {folder} was built from other patches, cmake flags or "
            f"pins than this checkout's; {command} renews it"
        )
    return build


def recipe(images: Images, flavour: str) -> str:
    """Return a hash of all that a checkout says of a build: patches, flags, pinned sources."""
    pins = [f"{origin.name} {origin.commit}" for origin in images.llama_cpp]
    image = images.images["cpu" if flavour == SANITIZED else flavour]
    special = SANITIZE_FLAGS if flavour == SANITIZED else ()
    parts = [_patches_hash(), *CMAKE_FLAGS, image.cmake_flags, *special, *pins]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _patches_hash() -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in PATCHES.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(PATCHES)).encode() + file.read_bytes())
    return digest.hexdigest()


# ------------------------------------------------------------------ what the build needs


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


def amx_is_miscompiled(compiler: str) -> bool:
    """Tell whether the first line of ``c++ --version`` is of a GCC that breaks AMX."""
    # GCC's line is "PROGRAM (who built it) VERSION"; clang and others say their names.
    version = re.fullmatch(r"\S*(?:g\+\+|gcc|c\+\+|cc)\S* \(.*\) (\d+(?:\.\d+)+)\b.*", compiler)
    return version is not None and Version(version.group(1)) < GCC_WITH_AMX


def _first_line(command: Sequence[str]) -> str:
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


# ------------------------------------------------------------------ the source


def write_archive(source: Resolved[SourceOrigin, Path], path: Path) -> None:
    """Write the source tree to ``path`` (.tar.gz), to be carried to a machine without a network.

    The tree already lacks what building the server does not read (tools/origins/trees.py). Raises
    ToolError where it cannot be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        try:
            with tarfile.open(partial, "w:gz") as archive:
                archive.add(source.value, f"{_ARCHIVE_TOP}{source.origin.name}", filter=_anonymous)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ToolError(f"cannot write {path}: {error}") from None
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, llama.cpp from origin {source.origin.name}")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who packed it, so that the same source gives the same members."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def carried_source(images: Images, path: Path) -> Resolved[SourceOrigin, Path]:
    """Return the source in an archive of ours, or in the folder that one was unpacked to.

    Which origin it is from stands in the name of its top folder. Raises ToolError for anything
    else.
    """
    if path.is_dir():
        return Resolved(_origin_of(images, path.resolve().name, path), path.resolve())
    try:
        with tarfile.open(path, "r:gz") as archive:
            top = (archive.next() or tarfile.TarInfo()).name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, tarfile.TarError) as error:
        raise ToolError(f"{path} is no source archive: {error}") from None
    origin = _origin_of(images, top, path)
    tree = cache_dir() / "sources" / f"carried-{digest[:16]}"
    with locked(tree):
        if not tree.exists():
            with path.open("rb") as content:
                unpack(content, top, tree)
    return Resolved(origin, tree)


def _origin_of(images: Images, top: str, path: Path) -> SourceOrigin:
    for origin in images.llama_cpp:
        if top == f"{_ARCHIVE_TOP}{origin.name}":
            return origin
    known = ", ".join(f"{_ARCHIVE_TOP}{origin.name}" for origin in images.llama_cpp)
    raise ToolError(
        f"{path}: {top or 'nothing'!r} is not the top folder of an archive that "
        f"`nox -s native -- archive` writes ({known})"
    )


def apply_patches(patch: str, tree: Path, names: Sequence[str]) -> None:
    """Apply our patches to a copy of the source, as images/Dockerfile does.

    Raises SourceFault naming the one that does not apply.
    """
    for name in names:
        result = run_bounded(
            [patch, *PATCH_FLAGS, f"--input={PATCHES / name}.patch"], timeout=60, folder=tree
        )
        if result.code != 0:
            raise SourceFault(
                f"images/patches/{name}.patch does not apply to this llama.cpp:\n"
                f"{(result.stdout + result.stderr).strip()}"
            )
    shutil.copytree(PATCHES / "files", tree, dirs_exist_ok=True)


def _lay_source(tree: Path, destination: Path, patch: str) -> None:
    """Put a patched copy of ``tree`` at ``destination``."""
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".laying-") as name:
        copy = Path(name) / "source"
        shutil.copytree(tree, copy, symlinks=True, copy_function=shutil.copy)
        apply_patches(patch, copy, patch_names())
        if destination.exists():
            _keep_times(destination, copy)
            shutil.rmtree(destination)
        copy.rename(destination)


def _keep_times(old: Path, new: Path) -> None:
    """Give files that are as they were their old times, so that only the others are compiled."""
    for file in new.rglob("*"):
        before = old / file.relative_to(new)
        if file.is_file() and before.is_file() and filecmp.cmp(before, file, shallow=False):
            times = before.stat()
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _fingerprint(tree: Path) -> str:
    """Return a hash of what the source is made of: which tree, and the patches' bytes."""
    return hashlib.sha256(f"{tree}\n{_patches_hash()}".encode()).hexdigest()


# ------------------------------------------------------------------ the build


def build_native(
    image: Image,
    source: Resolved[SourceOrigin, Path],
    cuda_architectures: Sequence[int] = (),
    *,
    sanitize: bool = False,
) -> Build:
    """Build a flavour from ``source`` and return it; a finished build is replaced at the end.

    What an interrupted build has compiled is kept. CUDA is compiled for ``cuda_architectures``, or
    for all of the catalogue's that this machine's toolkit knows. ``sanitize`` makes SANITIZED of
    the cpu flavour. Raises ToolError when a tool is missing or the build fails.
    """
    flavour = SANITIZED if sanitize else image.name
    tools = find_tools(cuda=bool(image.cuda_architectures))
    compiler = _first_line([tools["c++"], "--version"])
    flags = [f"-D{key}={value}" for key, value in image.cmake]
    flags += SANITIZE_FLAGS if sanitize else ()
    release = "none"
    if "nvcc" in tools:
        toolkit = host_toolkit(tools["nvcc"])
        release = toolkit.version
        chosen = choose_architectures(image, toolkit, cuda_architectures)
        flags += [f"-DCMAKE_CUDA_COMPILER={tools['nvcc']}", cmake_flag(chosen)]
    facts = {
        "flavour": flavour,
        "origin": source.origin.name,
        "commit": source.origin.commit,
        "patches": ",".join(patch_names()),
        "flags": " ".join(flags),
        "compiler": compiler,
        "cuda": release,
        "recipe": recipe(load_images(), flavour),
    }
    folder = native_dir(flavour)
    started = time.monotonic()
    say(f"building llama-server ({flavour}) with {compiler}")
    with locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with naming_origin(source.origin, f"nox -s native -- build {image.name}"):
            stamp = folder / "source.sha256"
            fingerprint = _fingerprint(source.value)
            if not stamp.is_file() or stamp.read_text() != fingerprint:
                stamp.unlink(missing_ok=True)
                _lay_source(source.value, folder / "source", tools["patch"])
                stamp.write_text(fingerprint)
            _compile([*flags, f"-DLLAMA_BUILD_COMMIT={short_commit(source.origin)}"], tools, folder)
        _install(folder, facts)
    build = find_build(flavour)
    size = sum(file.stat().st_size for file in build.folder.iterdir() if not file.is_symlink())
    say(f"built {build.server}: {size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return build


def _compile(flags: Sequence[str], tools: Mapping[str, str], folder: Path) -> None:
    configure = [
        *(tools["cmake"], "-S", str(folder / "source"), "-B", str(folder / "build"), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}",
        f"-DCMAKE_C_COMPILER={tools['cc']}",
        f"-DCMAKE_CXX_COMPILER={tools['c++']}",
        *CMAKE_FLAGS,
        *flags,
    ]
    build = [tools["cmake"], "--build", str(folder / "build"), "--target", "llama-server"]
    log = folder / "build.log"
    with log.open("w", encoding="utf-8") as file:
        for command in (configure, build):
            if _run_logged(command, file) != 0:
                said = log.read_text(encoding="utf-8").splitlines()
                raise build_failure(said, log)


def _run_logged(command: Sequence[str], log: TextIO) -> int:
    """Run a command of the build, its output to ``log``; show ninja's ``[done/all]`` as progress.

    Returns the exit code. (Compilers print thousands of lines of warnings here.)
    """
    with ExitStack() as bar:
        advance, done = None, 0

        def each_line(line: str) -> None:
            nonlocal advance, done
            log.write(line)
            if step := _STEP.match(line):
                if advance is None:
                    advance = bar.enter_context(progress(int(step[2]), "compiling", unit=""))
                advance(int(step[1]) - done)
                done = int(step[1])

        try:
            return run_streamed(command, each_line)
        finally:
            log.flush()


def _install(folder: Path, facts: Mapping[str, str]) -> None:
    """Put the server and its libraries into ``app``, whole or not at all."""
    app, made = folder / "app", folder / "build" / "bin"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".installing-") as name:
        new = Path(name) / "app"
        new.mkdir()
        for file in [made / "llama-server", *made.glob("*.so*")]:
            shutil.copy2(file, new / file.name, follow_symlinks=False)
        if amx_is_miscompiled(facts["compiler"]) and (new / AMX_LIBRARY).exists():
            (new / AMX_LIBRARY).unlink()
            loud(
                f"{facts['compiler']} miscompiles AMX, so {AMX_LIBRARY} is left out: on a CPU with "
                f"AMX the server is slower than the image's. GCC {GCC_WITH_AMX} or newer (CC, CXX) "
                "builds it"
            )
        (new / "build.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if app.exists():
            shutil.rmtree(app)
        new.rename(app)
