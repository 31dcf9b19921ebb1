from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tools.common.cache import cache_dir
from tools.common.errors import ToolError
from tools.facts.images import SourceOrigin, load_images
from tools.images.recipe import CONTEXT
from tools.images.toolchain import AMX_LIBRARY, amx_is_miscompiled
from tools.native import build as native_build
from tools.native import source as native_source
from tools.native import toolchain
from tools.native.build import (
    CMAKE_FLAGS,
    SANITIZE_FLAGS,
    SANITIZED,
    Build,
    _run_logged,
    find_build,
    native_dir,
    recipe,
)
from tools.native.source import (
    PATCH_FLAGS,
    apply_patches,
    carried_source,
    lay_source,
    write_archive,
)
from tools.native.toolchain import find_tools, host_toolkit, missing_tools
from tools.origins.choose import Resolved

IMAGES = load_images()
GCC_12 = "c++ (Debian 12.2.0-14+deb12u1) 12.2.0"
GCC_14 = "c++ (Debian 14.2.0-19) 14.2.0"


def facts(compiler: str = GCC_14) -> dict[str, str]:
    """What stands beside a build of this checkout, as far as the tests read it."""
    return {"compiler": compiler, "recipe": recipe(IMAGES, "cpu")}


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JINA_CACHE_DIR", str(tmp_path / "cache"))


def test_flags_are_those_of_the_dockerfile() -> None:
    dockerfile = " ".join((CONTEXT / "Dockerfile").read_text().replace("\\\n", " ").split())
    assert " ".join(PATCH_FLAGS) in dockerfile
    for flag in CMAKE_FLAGS:
        assert flag in dockerfile.replace("'", "")


# ------------------------------------------------------------------ tools


def test_all_missing_tools_are_named_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "search_path", lambda: "/nonexistent")
    with pytest.raises(ToolError, match=r"needs cmake, ninja, patch, cc, c\+\+, nvcc, which"):
        find_tools(cuda=True)


def test_nvcc_is_asked_for_with_cuda_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cmake", "ninja", "patch", "cc", "c++"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(toolchain, "search_path", lambda: str(tmp_path))
    for name in ("CC", "CXX", "CUDACXX"):
        monkeypatch.delenv(name, raising=False)
    assert find_tools(cuda=False)["ninja"] == str(tmp_path / "ninja")
    with pytest.raises(ToolError, match="needs nvcc, which"):
        find_tools(cuda=True)


def test_another_compiler_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "g++-99"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(toolchain, "search_path", lambda: str(tmp_path))
    with pytest.raises(ToolError, match="needs cmake, ninja, patch, cc, which"):
        find_tools(cuda=False)


@pytest.mark.parametrize(
    ("distribution", "said"),
    [
        ("debian", "sudo apt-get install --no-install-recommends ninja-build g++"),
        ("ubuntu", "sudo apt-get install --no-install-recommends ninja-build g++"),
        ("fedora", "sudo dnf install ninja-build gcc-c++"),
        ("arch", "this platform's package manager"),
    ],
)
def test_the_platforms_command_is_said(distribution: str, said: str) -> None:
    assert said in missing_tools(["ninja", "c++"], distribution)


def test_where_nvcc_comes_from_is_said() -> None:
    said = missing_tools(["nvcc"], "debian")
    assert "nvidia-cuda-toolkit" in said
    assert "apt-get" not in said


@pytest.mark.parametrize(
    ("compiler", "broken"),
    [
        (GCC_12, True),
        ("g++ (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3)", True),
        ("x86_64-linux-gnu-g++-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0", True),
        ("g++-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", False),
        (GCC_14, False),
        ("Debian clang version 14.0.6", False),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)", False),
        ("", False),
    ],
)
def test_compilers_that_break_amx_are_known(compiler: str, broken: bool) -> None:
    assert amx_is_miscompiled(compiler) is broken


# ------------------------------------------------------------------ the source


def source(tmp_path: Path) -> Resolved[SourceOrigin, Path]:
    tree = tmp_path / "tree"
    (tree / "tools" / "server").mkdir(parents=True)
    (tree / "CMakeLists.txt").write_text("project(x)\n")
    (tree / "tools" / "server" / "server.cpp").write_text("int main() {}\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    return Resolved(IMAGES.llama_cpp[1], tree)


def test_an_archive_brings_the_same_source_elsewhere(tmp_path: Path) -> None:
    archive = tmp_path / "source.tar.gz"
    write_archive(source(tmp_path), archive)
    carried = carried_source(IMAGES, archive)
    assert carried.origin == IMAGES.llama_cpp[1]
    assert (carried.value / "tools/server/server.cpp").read_text() == "int main() {}\n"
    assert os.access(carried.value / "run.sh", os.X_OK)
    assert carried_source(IMAGES, archive) == carried
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "source.tar.gz", "tree"]


def test_an_unpacked_archive_is_taken_too(tmp_path: Path) -> None:
    write_archive(source(tmp_path), tmp_path / "source.tar.gz")
    (tmp_path / "there").mkdir()
    # As a person unpacks it; of tarfile's own way some Pythons warn, and others lack the filter.
    subprocess.run(
        ["tar", "-xzf", tmp_path / "source.tar.gz", "-C", tmp_path / "there"], check=True
    )
    folder = next((tmp_path / "there").iterdir())
    carried = carried_source(IMAGES, folder)
    assert carried == Resolved(IMAGES.llama_cpp[1], folder)


def test_what_is_no_archive_of_ours_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.tar.gz"
    garbage.write_bytes(b"not an archive")
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as archive:
        archive.add(source(tmp_path).value, "llama.cpp-master")
    with pytest.raises(ToolError, match="is no source archive"):
        carried_source(IMAGES, garbage)
    with pytest.raises(ToolError, match=r"llama\.cpp-master.*llama\.cpp-pypi-0\.3\.36"):
        carried_source(IMAGES, other)
    with pytest.raises(ToolError, match="'tree' is not the top folder"):
        carried_source(IMAGES, tmp_path / "tree")
    with pytest.raises(ToolError, match="is no source archive"):
        carried_source(IMAGES, tmp_path / "nowhere.tar.gz")


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot write"):
        write_archive(source(tmp_path), tmp_path / "nowhere" / "source.tar.gz")


PATCH = """\
--- a/tools/server/server.cpp
+++ b/tools/server/server.cpp
@@ -1 +1 @@
-int main() {}
+int main() { return 1; }
"""


@pytest.fixture
def patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "0001-fits.patch").write_text(PATCH)
    (folder / "0002-misfits.patch").write_text(PATCH.replace("int main()", "void other()"))
    ours = folder / "files/tools/server/jina-embeddings.cpp"
    ours.parent.mkdir(parents=True)
    ours.write_text("// ours\n")
    monkeypatch.setattr(native_source, "PATCHES", folder)
    return folder


def test_patches_and_our_files_are_put_in(tmp_path: Path, patches: Path) -> None:
    tree = source(tmp_path).value
    apply_patches("patch", tree, ["0001-fits"])
    assert "return 1" in (tree / "tools/server/server.cpp").read_text()
    assert (tree / "tools/server/jina-embeddings.cpp").exists()


def test_a_patch_that_does_not_apply_is_named(tmp_path: Path, patches: Path) -> None:
    with pytest.raises(ToolError, match=r"0002-misfits\.patch does not apply(.|\n)*FAILED"):
        apply_patches("patch", source(tmp_path).value, ["0001-fits", "0002-misfits"])


def test_a_source_laid_anew_changes_the_times_of_what_changed(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ninja goes by times: a patch taken away again must be compiled away too."""
    tree, laid = source(tmp_path).value, tmp_path / "laid"
    server, cmake = laid / "tools/server/server.cpp", laid / "CMakeLists.txt"
    long_ago = 1_000_000_000
    for file in tree.rglob("*"):
        os.utime(file, (long_ago, long_ago))
    monkeypatch.setattr(native_build, "patch_names", lambda: ("0001-fits",))
    monkeypatch.setattr(native_source, "patch_names", lambda: ("0001-fits",))
    lay_source(tree, laid, "patch")
    first = {file: file.stat().st_mtime_ns for file in (server, cmake)}
    monkeypatch.setattr(native_build, "patch_names", tuple)
    monkeypatch.setattr(native_source, "patch_names", tuple)
    lay_source(tree, laid, "patch")
    assert server.read_text() == "int main() {}\n"
    assert server.stat().st_mtime_ns > first[server]
    assert cmake.stat().st_mtime_ns == first[cmake]


# ------------------------------------------------------------------ what is built


def built(folder: Path) -> None:
    (folder / "build" / "bin").mkdir(parents=True)
    for name in ("llama-server", "libggml-cpu-x64.so", AMX_LIBRARY, "libllama.so.0.1"):
        (folder / "build" / "bin" / name).write_text(name)
    (folder / "build" / "bin" / "libllama.so").symlink_to("libllama.so.0.1")
    (folder / "build" / "bin" / "unwanted.txt").touch()


def test_a_build_is_found_again(tmp_path: Path) -> None:
    folder = native_dir("cpu")
    built(folder)
    native_build._install(folder, facts())
    build = find_build("cpu")
    assert build == Build(folder / "app", facts())
    assert build.server.read_text() == "llama-server"
    assert {file.name for file in build.folder.iterdir()} == {
        *("llama-server", "libggml-cpu-x64.so", AMX_LIBRARY, "libllama.so.0.1", "libllama.so"),
        "build.json",
    }
    assert (build.folder / "libllama.so").is_symlink()
    assert json.loads((build.folder / "build.json").read_text()) == build.facts


def test_a_new_build_replaces_the_old_one(tmp_path: Path) -> None:
    folder = native_dir("cpu")
    built(folder)
    native_build._install(folder, facts())
    (folder / "build" / "bin" / "libggml-cpu-x64.so").unlink()
    native_build._install(folder, facts())
    assert not (folder / "app" / "libggml-cpu-x64.so").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["app", "build"]


def test_amx_is_left_out_where_the_compiler_breaks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(native_dir("cpu"))
    native_build._install(native_dir("cpu"), facts(GCC_12))
    assert not (find_build("cpu").folder / AMX_LIBRARY).exists()
    assert "12.2.0 miscompiles AMX" in capsys.readouterr().err


def test_a_build_of_another_checkout_is_refused(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is shared by all of a machine's checkouts."""
    folder = native_dir("cpu")
    built(folder)
    native_build._install(folder, facts())
    assert find_build("cpu").facts == facts()
    changed = replace(IMAGES, llama_cpp=IMAGES.llama_cpp[1:])
    with monkeypatch.context() as pinned:
        pinned.setattr(native_build, "load_images", lambda: changed)
        with pytest.raises(ToolError, match="pins than this checkout's"):
            find_build("cpu")
    (patches / "0009-new.patch").write_text("--- a/x\n")
    with pytest.raises(ToolError, match=r"other patches.*`nox -s native -- build cpu` renews it"):
        find_build("cpu")


def test_without_a_build_the_command_is_said() -> None:
    with pytest.raises(ToolError, match="nox -s native -- build cuda"):
        find_build("cuda")
    assert native_dir("cuda").is_relative_to(cache_dir())


# ------------------------------------------------------------------ the build itself


CMAKE = """\
#!/bin/sh
for word in "$@"; do echo "$word"; done >>"{folder}/asked"
if [ "$1" = --build ]; then
    mkdir -p "{folder}/made"
    echo "[1/2] Building CXX object x.o"
    echo "x.cpp: warning: something"
    echo "[2/2] Linking"
    exit {code}
fi
"""


def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {"cmake": CMAKE.format(folder=tmp_path, code=code)}
    scripts["c++"] = f"#!/bin/sh\necho '{GCC_14}'\n"
    for name in ("cmake", "ninja", "cc", "c++"):
        (folder / name).write_text(scripts.get(name, "#!/bin/sh\n"))
        (folder / name).chmod(0o755)
    monkeypatch.setattr(toolchain, "search_path", lambda: f"{folder}:{os.environ['PATH']}")
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)


def test_cmake_is_asked_for_what_the_catalogue_says(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(tmp_path, monkeypatch)
    monkeypatch.setattr(native_build, "patch_names", lambda: ("0001-fits",))
    monkeypatch.setattr(native_source, "patch_names", lambda: ("0001-fits",))
    image = IMAGES.images["cpu"]
    folder = native_dir("cpu")
    built(folder)
    build = native_build.build_native(image, source(tmp_path))
    asked = (tmp_path / "asked").read_text().splitlines()
    for key, value in image.cmake:
        assert f"-D{key}={value}" in asked
    assert {*CMAKE_FLAGS, "-DLLAMA_BUILD_COMMIT=0c1e57098", "llama-server"} <= set(asked)
    assert build.facts["compiler"] == GCC_14
    assert build.facts["origin"] == IMAGES.llama_cpp[1].name
    assert "return 1" in (folder / "source/tools/server/server.cpp").read_text()


def test_a_sanitized_build_is_another_one_of_the_same_recipe(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(tmp_path, monkeypatch)
    monkeypatch.setattr(native_build, "patch_names", tuple)
    monkeypatch.setattr(native_source, "patch_names", tuple)
    built(native_dir(SANITIZED))
    build = native_build.build_native(IMAGES.images["cpu"], source(tmp_path), sanitize=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert set(SANITIZE_FLAGS) <= set(asked)
    # The later of two definitions holds.
    variants = [each for each in asked if each.startswith("-DGGML_CPU_ALL_VARIANTS=")]
    assert variants[-1] == "-DGGML_CPU_ALL_VARIANTS=OFF"
    assert find_build(SANITIZED) == build
    assert build.facts["flavour"] == SANITIZED
    with pytest.raises(ToolError, match="no native cpu server yet"):
        find_build("cpu")


def test_a_failed_build_keeps_the_old_one_and_shows_its_end(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(tmp_path, monkeypatch, code=1)
    monkeypatch.setattr(native_build, "patch_names", tuple)
    monkeypatch.setattr(native_source, "patch_names", tuple)
    built(native_dir("cpu"))
    native_build._install(native_dir("cpu"), facts())
    with pytest.raises(ToolError, match=r"(?s)warning: something.*build\.log"):
        native_build.build_native(IMAGES.images["cpu"], source(tmp_path))
    assert find_build("cpu").facts == facts()


NVCC = """\
#!/bin/sh
case "$1" in
    --version) echo "Cuda compilation tools, release 12.4, V12.4.131" ;;
    --list-gpu-arch) printf 'compute_%s\\n' 50 75 80 86 89 90 ;;
esac
"""


def test_cuda_is_compiled_for_what_this_machines_toolkit_knows(
    tmp_path: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(tmp_path, monkeypatch)
    (tmp_path / "bin" / "nvcc").write_text(NVCC)
    (tmp_path / "bin" / "nvcc").chmod(0o755)
    monkeypatch.setattr(native_build, "patch_names", tuple)
    monkeypatch.setattr(native_source, "patch_names", tuple)
    monkeypatch.delenv("CUDACXX", raising=False)
    built(native_dir("cuda"))
    image = IMAGES.images["cuda"]
    build = native_build.build_native(image, source(tmp_path))
    assert build.facts["cuda"] == "12.4"
    assert "-DCMAKE_CUDA_ARCHITECTURES=75-real;80-real;86-real;89-real;90" in build.facts["flags"]
    native_build.build_native(image, source(tmp_path / "again"), [90])
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "-DCMAKE_CUDA_ARCHITECTURES=90" in asked
    assert f"-DCMAKE_CUDA_COMPILER={tmp_path}/bin/nvcc" in asked
    with pytest.raises(ToolError, match=r"--cuda-arch 120: with CUDA 12\.4"):
        native_build.build_native(image, source(tmp_path / "third"), [120])


def test_a_strange_nvcc_is_said(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho hello\n")
    nvcc.chmod(0o755)
    with pytest.raises(ToolError, match=r"is no nvcc that we know(.|\n)*hello"):
        host_toolkit(str(nvcc))


# ------------------------------------------------------------------ an end before its time


class Interrupted(io.StringIO):
    """A log in the middle of whose first line comes Ctrl-C."""

    def write(self, line: str) -> int:
        super().write(line)
        raise KeyboardInterrupt


def test_what_the_build_had_started_ends_with_it() -> None:
    """Ninja is started by cmake, which does not end it when it ends itself."""
    log = Interrupted()
    script = "sleep 600 & echo $!; wait"
    with pytest.raises(KeyboardInterrupt):
        _run_logged(["sh", "-c", script], log)
    child = Path("/proc", log.getvalue().strip())
    deadline = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < deadline, f"{child} runs on"
        time.sleep(0.01)


def is_running(process: Path) -> bool:
    """Whether a process of /proc has not ended; one that nobody has waited for is a zombie."""
    try:
        return "State:\\tZ" not in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
