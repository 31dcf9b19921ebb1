"""Carry a built image to another machine in a file: `nox -s archive -- save cpu FILE`.

What `nox -s archive -- load FILE` loads there is the image that was built, with the same id, so
that the one that is tested is the one that is published.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.common.console import say
from tools.common.errors import run_verb
from tools.engine.docker import ask_docker
from tools.engine.ensure import ensure_engine
from tools.facts.images import load_images, local_name

#: Seconds for a file of gigabytes, as an image with CUDA is, on a slow disk.
_TIMEOUT = 1800


def save(name: str, file: Path) -> None:
    """Write the image of that local name to ``file``, whole or not at all.

    In the file its name ends with its architecture, as a foreign platform's does everywhere.
    """
    carried = f"{name}-{_ask(['image', 'inspect', '--format', '{{.Architecture}}', name])}"
    _ask(["image", "tag", name, carried])
    try:
        _ask(["image", "save", "--output", str(file), carried])
    finally:
        _ask(["image", "rm", "--no-prune", carried])
    say(f"{file}: {carried}, {file.stat().st_size / 1e6:.0f} MB")


def load(file: Path) -> str:
    """Load what :func:`save` wrote into this machine's engine, and return its name here.

    One of the engine's own platform gets the usual name, as if it had been built here.
    """
    said = _ask(["image", "load", "--quiet", "--input", str(file)])
    carried = said.rpartition("Loaded image: ")[2]
    name, _, architecture = carried.rpartition("-")
    if architecture == _ask(["version", "--format", "{{.Server.Arch}}"]):
        _ask(["image", "tag", carried, name])
        _ask(["image", "rm", "--no-prune", carried])
        carried = name
    say(f"loaded {carried} from {file}")
    return carried


def _ask(command: Sequence[str]) -> str:
    """Run docker and return what it said; raises ToolError with its words when it fails."""
    words = " ".join(command)
    advice = "`nox -s build` makes images, and `nox -s archive -- save` their files"
    return ask_docker(command, failed=f"docker {words} ({advice})", timeout=_TIMEOUT)


def main(arguments: Sequence[str]) -> None:
    """Save an image, or load one."""
    images = load_images()
    parser = argparse.ArgumentParser(prog="nox -s archive --", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    saving = actions.add_parser("save", help="write a locally built image to a file")
    saving.add_argument("image", choices=sorted(images.images))
    saving.add_argument("file", type=Path)
    loading = actions.add_parser("load", help="load an image from a file")
    loading.add_argument("files", nargs="+", type=Path, metavar="file")
    options = parser.parse_args(arguments)
    ensure_engine()
    if options.action == "save":
        save(local_name(images, images.images[options.image]), options.file)
    else:
        for file in options.files:
            load(file)


if __name__ == "__main__":
    sys.exit(run_verb(main))
