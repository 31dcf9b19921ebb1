"""Publish images: pushed without a name, tested as they come back, and only then named.

`nox -s publish -- --repository ghcr.io/OWNER/jina-embeddings-v5`. It can be interrupted at any
time; run again, it goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.common.console import say, table
from tools.common.errors import ToolError, run_verb
from tools.engine.ensure import ensure_engine
from tools.facts.images import Images, load_images
from tools.facts.models import load_models
from tools.images.version import read_revision
from tools.publish.plan import Built, Release, find_built, local_references, plan_release, refusals
from tools.publish.promote import publish
from tools.publish.suites import SUITES, is_emulated
from tools.registry.client import Repository, parse_repository, registry

REPOSITORY_VARIABLE = "JINA_REPOSITORY"


def show_plan(release: Release, repository: Repository) -> None:
    """Print what publishing would do, step by step."""
    steps = [
        ["push", built.candidate_tag, f"{built.reference} {built.platform}"]
        for built in release.built
    ]
    for built in release.built:
        steps.append(["test", f"the digest of {built.platform}", _tests(built, release)])
    steps.append(["index", "without a name", "all platforms, each with SBOM and provenance"])
    steps += [["name", tag, "never changes"] for tag in release.names.fixed]
    steps += [["name", tag, "unless that commit has it"] for tag in release.names.of_commit]
    steps += [["name", tag, "moves forward"] for tag in release.names.moving]
    say(f"{release.image.name} to {repository}:")
    table(steps, header=["step", "what", "how"])


def _tests(built: Built, release: Release) -> str:
    """Return what one platform's image has to pass."""
    if built.platform in release.untested:
        return "not tested"
    what = " and ".join(SUITES)
    return f"{what}, emulated: no full context" if is_emulated(built.platform) else what


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s publish --", description=__doc__)
    parser.add_argument("image", nargs="*", help="which ones; all of them unless given")
    parser.add_argument(
        "--repository",
        default=os.environ.get(REPOSITORY_VARIABLE),
        help="where to, such as ghcr.io/owner/jina-embeddings-v5; "
        f"the variable {REPOSITORY_VARIABLE} sets it too",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan, do nothing")
    parser.add_argument(
        "--allow-fallback-origins",
        action="store_true",
        help="publish a development version, marked -dev, from inputs that are not from their "
        "first origins; it never gets the short tags",
    )
    parser.add_argument(
        "--allow-untested",
        action="append",
        default=[],
        metavar="PLATFORM",
        help="let a platform that cannot run here go untested; the short tags do not move",
    )
    parser.add_argument(
        "--outputs-to",
        type=Path,
        metavar="FILE",
        help="append repository=NAME and digest=DIGEST of the one image, as GitHub's steps hand "
        "on their outputs",
    )
    return parser


def _options(images: Images, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Raises ToolError for what cannot be published."""
    options = _parser().parse_args(arguments)
    for name in options.image:
        if name not in images.images:
            raise ToolError(f"there is no image {name}; there are {', '.join(images.images)}")
    if options.outputs_to and len(options.image) != 1:
        raise ToolError("--outputs-to takes the digest of one image; name which")
    if not options.repository:
        raise ToolError(
            "name the repository: --repository ghcr.io/OWNER/jina-embeddings-v5, or the variable "
            f"{REPOSITORY_VARIABLE}"
        )
    return options


def _plan(images: Images, repository: Repository, options: argparse.Namespace) -> list[Release]:
    """Return what is to be published, and print it.

    Raises ToolError with all that speaks against it.
    """
    revision = read_revision()
    releases = []
    faults = []
    for name in options.image or images.images:
        image = images.images[name]
        built = tuple(
            find_built(local_references(images, image, platform), platform, name)
            for platform in image.platforms
        )
        release = plan_release(image, built, images, revision, options.allow_untested)
        show_plan(release, repository)
        releases.append(release)
        faults += refusals(
            release,
            images,
            load_models(),
            revision,
            allow_fallback_origins=options.allow_fallback_origins,
        )
    if faults:
        raise ToolError("this is not published:\n  " + "\n  ".join(dict.fromkeys(faults)))
    return releases


def main(arguments: Sequence[str]) -> None:
    """Publish image flavours, as the command line says."""
    images = load_images()
    options = _options(images, arguments)
    repository = parse_repository(options.repository)
    ensure_engine()
    releases = _plan(images, repository, options)
    if options.dry_run:
        return
    with registry(repository) as target:
        for release in releases:
            digest = publish(release, images, target)
            if options.outputs_to:
                with options.outputs_to.open("a", encoding="utf-8") as file:
                    file.write(f"repository={repository}\ndigest={digest}\n")


if __name__ == "__main__":
    sys.exit(run_verb(main))
