"""Build llama-server on this machine itself, as images/Dockerfile does inside an image.

The same pinned source, patches and cmake flags; what differs is the compiler, which is the
host's. Where it is done, the server and its libraries lie in one folder of the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tools.common.cache import cache_dir, locked
from tools.common.console import loud, progress, say
from tools.common.errors import ToolError
from tools.common.processes import run_streamed
from tools.facts.images import Image, Images, SourceOrigin, load_images
from tools.images.build_log import build_failure
from tools.images.cuda import choose_architectures, cmake_flag
from tools.images.labels import short_commit
from tools.images.recipe import patch_names
from tools.images.toolchain import AMX_LIBRARY, GCC_WITH_AMX, amx_is_miscompiled
from tools.native.source import lay_source, patches_hash, source_fingerprint
from tools.native.toolchain import find_tools, first_line, host_toolkit
from tools.origins.choose import Resolved, naming_origin

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


#: How ninja begins the line of each step.
_STEP = re.compile(r"\[(\d+)/(\d+)\] ")


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
    parts = [patches_hash(), *CMAKE_FLAGS, image.cmake_flags, *special, *pins]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


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
    compiler = first_line([tools["c++"], "--version"])
    cuda_flags, release = _cuda(image, tools, cuda_architectures)
    flags = [f"-D{key}={value}" for key, value in image.cmake]
    flags += [*(SANITIZE_FLAGS if sanitize else ()), *cuda_flags]
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
            _lay_when_changed(source.value, folder, tools["patch"])
            _compile([*flags, f"-DLLAMA_BUILD_COMMIT={short_commit(source.origin)}"], tools, folder)
        _install(folder, facts)
    build = find_build(flavour)
    size = sum(file.stat().st_size for file in build.folder.iterdir() if not file.is_symlink())
    say(f"built {build.server}: {size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return build


def _cuda(
    image: Image, tools: Mapping[str, str], architectures: Sequence[int]
) -> tuple[list[str], str]:
    """Return cmake's flags for CUDA and the toolkit's release, of a flavour with CUDA."""
    if "nvcc" not in tools:
        return [], "none"
    toolkit = host_toolkit(tools["nvcc"])
    chosen = choose_architectures(image, toolkit, architectures)
    return [f"-DCMAKE_CUDA_COMPILER={tools['nvcc']}", cmake_flag(chosen)], toolkit.version


def _lay_when_changed(tree: Path, folder: Path, patch: str) -> None:
    """Lay the patched source into ``folder``, unless that very one lies there."""
    stamp = folder / "source.sha256"
    fingerprint = source_fingerprint(tree)
    if not stamp.is_file() or stamp.read_text() != fingerprint:
        stamp.unlink(missing_ok=True)
        lay_source(tree, folder / "source", patch)
        stamp.write_text(fingerprint)


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
