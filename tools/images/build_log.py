"""What a build prints: a line for each step here, all of it in a file, and why it failed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.common.console import say
from tools.common.errors import SourceFault, ToolError
from tools.common.processes import run_streamed
from tools.facts.paths import ROOT

#: Where the logs of builds are kept; git ignores the folder.
LOGS = ROOT / "reports"

#: Seconds after which a step that takes long says where it is.
_PAUSE = 10.0
#: How many lines of a failure that we do not know are shown.
_END = 25

#: The lines of `docker buildx build --progress plain`: "#8 [source 2/4] RUN ...", and for what came
#: of that step "#8 CACHED" or "#8 DONE 1.2s". What the step itself printed is "#8 0.35 TEXT".
_BEGUN = re.compile(r"#(\d+) \[(?!internal|context)([^\]]+)\] (.+)")
_ENDED = re.compile(r"#(\d+) (?:DONE (\d+\.\d+)s|(CACHED))")
_PRINTED = re.compile(r"#(\d+) \d+\.\d+ (.+)")

#: What BuildKit puts before a line of a step.
_PREFIX = re.compile(r"^(?:#\d+ )?\d+\.\d+ ")

_PATCH = re.compile(r"images/patches/[\w.-]+\.patch does not apply to this llama\.cpp")
_UNDEFINED = re.compile(r"undefined reference to [`'](.+?)'")
_COMPILER = re.compile(r"\S+:\d+(?::\d+)?: (?:fatal )?error: .+|CMake Error.*")


def build_failure(lines: Sequence[str], log: Path) -> ToolError:
    """Return the error for a build that failed; it printed ``lines``, which are all in ``log``.

    It is a SourceFault for a patch that does not apply, symbols that the linker does not find, and
    an error of the compiler or of cmake. For anything else it holds the last lines.
    """
    where = f"All that the build said is in {log}"
    if fault := _source_fault(lines):
        return SourceFault(f"{fault}\n{where}")
    end = "\n".join(line.rstrip() for line in lines[-_END:])
    return ToolError(f"the build failed:\n{end}\n{where}")


def _source_fault(lines: Sequence[str]) -> str:
    said = [_PREFIX.sub("", line.rstrip()) for line in lines]
    for line in said:
        if found := _PATCH.search(line):
            return found[0]
    missing = sorted({found[1] for line in said if (found := _UNDEFINED.search(line))})
    if missing:
        return (
            "llama-server does not link: neither llama.cpp's libraries nor the system's define "
            + ", ".join(missing)
        )
    for line in said:
        if found := _COMPILER.search(line):
            return f"llama.cpp does not compile: {found[0]}"
    return ""


def run_build(command: Sequence[str], log: Path) -> None:
    """Run a ``docker buildx build --progress plain``, its output to ``log``, a line a step here.

    Raises ToolError, saying why, when it fails (SourceFault where that is llama.cpp's doing), and
    when the log cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            show = _step_lines()

            def each_line(line: str) -> None:
                file.write(line)
                show(line)

            code = run_streamed(command, each_line)
    except OSError as error:
        raise ToolError(f"cannot run the build: {error}") from None
    if code != 0:
        raise build_failure(log.read_text(encoding="utf-8").splitlines(), log)


def _step_lines() -> Callable[[str], None]:
    """Return a function that is given BuildKit's lines and says how far the build is."""
    names: dict[str, str] = {}
    last = time.monotonic()

    def each_line(line: str) -> None:
        nonlocal last
        text = ""
        if begun := _BEGUN.match(line):
            names.setdefault(begun[1], f"[{begun[2]}] {begun[3]}")
        elif ended := _ENDED.match(line):
            if name := names.pop(ended[1], ""):
                took = "cached" if ended[3] else f"{float(ended[2]):.1f} s"
                text = f"{took:>8}  {name[:88]}"
        elif (printed := _PRINTED.match(line)) and time.monotonic() - last >= _PAUSE:
            text = f"{'...':>8}  {printed[2][:88]}"
        if text:
            say(text)
            last = time.monotonic()

    return each_line
