"""What is said of a build: its steps as they end, and one sentence where it failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.common.errors import SourceFault, ToolError
from tools.images.build_log import build_failure, run_build

LOG = Path("reports/build-cpu.log")

#: What BuildKit prints, with the linker's own words of a build of the fork.
LINKER = """\
#15 460.2 [480/489] Linking CXX executable bin/llama-server
#15 463.1 FAILED: bin/llama-server
#15 463.1 /usr/bin/ld: tools/server/libserver-context.a(server-common.cpp.o): in function `f':
#15 463.1 server-common.cpp:(.text+0x10): undefined reference to `ggml_get_f32_1d'
#15 463.1 server-common.cpp:(.text+0x90): undefined reference to `ggml_get_f32_1d'
#15 463.1 server-common.cpp:(.text+0xa0): undefined reference to `another(int)'
#15 463.1 collect2: error: ld returned 1 exit status
------
 > [source 4/4] RUN for patch in ${PATCHES}; do ... ||  \
    { echo "images/patches/${patch}.patch does not apply to this llama.cpp" >&2; exit 1; }; done
 > [build 3/4] RUN cmake:
463.1 server-common.cpp:(.text+0x90): undefined reference to `ggml_get_f32_1d'
"""
PATCH = """\
#9 0.412 1 out of 1 hunk FAILED -- saving rejects to file tools/server/server.cpp.rej
#9 0.413 images/patches/0003-wait-for-context.patch does not apply to this llama.cpp
"""
COMPILER = """\
#15 31.0 [3/489] Building CXX object common/arg.cpp.o
#15 31.5 /src/common/arg.cpp:12:5: error: 'x' was not declared in this scope
"""


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (LINKER, "define another(int), ggml_get_f32_1d"),
        (PATCH, "images/patches/0003-wait-for-context.patch does not apply to this llama.cpp"),
        (COMPILER, "does not compile: /src/common/arg.cpp:12:5: error: 'x' was not declared"),
    ],
)
def test_a_source_that_does_not_build_is_one_sentence(said: str, fault: str) -> None:
    error = build_failure(said.splitlines(), LOG)
    assert isinstance(error, SourceFault)
    sentence, where = str(error).splitlines()
    assert fault in sentence
    assert where.endswith(str(LOG))


def test_any_other_failure_shows_its_last_lines() -> None:
    said = [f"#7 1.0 line {number}" for number in range(100)]
    said += ["#7 2.0 E: Unable to fetch some archives", "ERROR: failed to solve"]
    error = build_failure(said, LOG)
    assert not isinstance(error, SourceFault)
    assert "Unable to fetch some archives" in str(error)
    assert "line 0\n" not in str(error)


def printing(text: str, code: int = 0) -> list[str]:
    """A command that prints ``text`` and ends with ``code``."""
    return [sys.executable, "-c", f"import sys; print({text!r}, end=''); sys.exit({code})"]


def test_each_step_is_a_line_with_its_time_and_the_log_has_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = """\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#6 [toolchain 1/2] FROM docker.io/library/base
#6 CACHED
#8 [toolchain 2/2] RUN apt-get install
#8 0.351 Get:1 a package
#8 DONE 12.3s
"""
    log = tmp_path / "reports" / "build.log"
    run_build(printing(said), log)
    assert capsys.readouterr().out.splitlines() == [
        "  cached  [toolchain 1/2] FROM docker.io/library/base",
        "  12.3 s  [toolchain 2/2] RUN apt-get install",
    ]
    assert log.read_text() == said


def test_a_step_that_takes_long_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.images.build_log._PAUSE", 0.0)
    run_build(printing("#8 [build 1/1] RUN cmake\n#8 9.1 [3/9] Building x\n"), tmp_path / "log")
    assert capsys.readouterr().out == "     ...  [3/9] Building x\n"


def test_a_failed_build_raises_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(SourceFault, match="ggml_get_f32_1d"):
        run_build(printing(LINKER, code=1), tmp_path / "log")


def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match="cannot run the build"):
        run_build(printing(""), tmp_path / "file" / "build.log")
