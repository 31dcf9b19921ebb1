"""Publish one release in a process of its own, for tests that kill it: see :func:`command`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from tools.common.errors import run_verb
from tools.facts.images import load_images
from tools.images.version import Revision
from tools.publish.plan import Built, find_built, plan_release
from tools.publish.promote import publish
from tools.registry.client import parse_repository, registry


def command(repository: str, reference: str, revision: Revision, suite: str) -> list[str]:
    """Return the command line of a process that publishes the local image ``reference``."""
    module = [sys.executable, "-W", "error", "-m", "tests.support.publish_run"]
    return [*module, repository, reference, revision.commit, revision.tag, suite]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    for name in ("repository", "reference", "commit", "tag", "suite"):
        parser.add_argument(name)
    options = parser.parse_args(arguments)
    images = load_images()
    image = images.images["cpu"]
    revision = Revision(options.commit, options.tag)
    built: tuple[Built, ...] = (find_built([options.reference], "linux/amd64", "cpu"),)
    with registry(parse_repository(options.repository)) as target:
        publish(plan_release(image, built, images, revision), images, target, [options.suite])


if __name__ == "__main__":
    # A shell without job control starts what it puts into the background with SIGINT ignored, and
    # all that it starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_verb(main))
