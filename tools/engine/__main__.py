"""Make sure that a Docker Engine answers: `nox -s engine`.

Nothing is done when a good enough engine answers. Otherwise, as root on Debian or Ubuntu, what
is missing is installed from the distribution's own packages and started, each step said first.
Anyone else gets the exact commands. `nox -s engine -- stop` ends an engine started here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.common.console import say
from tools.common.errors import run_verb
from tools.engine.ensure import ensure_engine, stop


def main(arguments: Sequence[str]) -> None:
    """Make sure an engine answers, or stop the one started here."""
    parser = argparse.ArgumentParser(prog="nox -s engine --", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["start", "stop"], default="start")
    parser.add_argument(
        "--no-install", action="store_true", help="change nothing; say what is missing"
    )
    options = parser.parse_args(arguments)
    if options.action == "stop":
        stop()
        return
    engine = ensure_engine(install=not options.no_install)
    say(f"engine: Docker Engine {engine.server}, buildx {engine.buildx}, compose {engine.compose}")


if __name__ == "__main__":
    sys.exit(run_verb(main))
