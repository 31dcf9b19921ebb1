"""Run test suites on one image, as a step of something larger."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

from tools.common.errors import ToolError
from tools.engine.docker import engine_platform
from tools.facts.paths import ROOT

#: What every image must pass before it gets a name; the vectors are compared with the reference's.
SUITES = ("tests/image", "tests/contract")
#: Where the image's CPU is emulated, many times slower, inputs as long as a model's context are
#: left out. Each test that remains gets this many seconds.
_EMULATED = ("-m", "not slow and not full_length", "--timeout", "1800")
#: Seconds that pytest gets to remove its containers after Ctrl-C.
_TIDY_SECONDS = 120


def is_emulated(platform: str) -> bool:
    """Whether an image of ``platform`` runs here, if at all, under emulation only."""
    return platform != engine_platform()


def run_suites(image: str, suites: Sequence[str] = SUITES, *, emulated: bool = False) -> None:
    """Run the suites on ``image``, a reference that the engine has, without skips for its lack.

    Raises ToolError when a test fails, or none ran.
    """
    command = [sys.executable, "-W", "error", "-m", "pytest", "--quiet", "--no-header"]
    command += [*suites, "--image", image, "--require", "docker", "-p", "no:cacheprovider"]
    command += _EMULATED if emulated else ()
    # A session of its own: Ctrl-C in a terminal would reach it as well as us, and a second one
    # keeps pytest from tidying up.
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        code = process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_TIDY_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    if code != 0:
        raise ToolError(
            f"{image} did not pass {' and '.join(suites)} (pytest's exit code {code}); what failed "
            "is in the lines above"
        )
