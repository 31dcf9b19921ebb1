"""llama-server on this machine itself, without an engine: `nox -s native`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tools.common.console import say
from tools.common.errors import ToolError, run_verb
from tools.common.processes import describe_end, tail
from tools.facts.images import Image, Images, load_images
from tools.facts.models import load_models
from tools.images.cuda import add_cuda_argument, wanted_architectures
from tools.native.build import SANITIZED, build_native, find_build
from tools.native.server import native_booted
from tools.native.source import carried_source, write_archive
from tools.origins.choose import add_origin_argument, choose, resolve_source
from tools.serving.options import (
    add_gpu_argument,
    add_model_argument,
    add_weights_arguments,
    choose_weights,
    compose_overrides,
)
from tools.weights.hub import add_task_argument

DEFAULT_ARCHIVE = Path("llama.cpp-source.tar.gz")


def _build(images: Images, image: Image, options: argparse.Namespace) -> None:
    source = (
        carried_source(images, options.source)
        if options.source
        else resolve_source(images, choose(options.origin))
    )
    sanitize = options.image == SANITIZED
    build_native(image, source, wanted_architectures(image, options.cuda_arch), sanitize=sanitize)


def _serve(options: argparse.Namespace) -> None:
    models = load_models()
    model = models.models[options.model].for_task(options.task)
    build = find_build("cuda" if options.gpu else "cpu")
    weights = choose_weights(models, model, options)
    with native_booted(
        build.server,
        model,
        weights.file,
        synthetic=weights.synthetic,
        overrides=compose_overrides(options),
    ) as server:
        say(f"{model.name} answers at {server.base_url}/v1/embeddings; Ctrl-C stops it")
        with suppress(KeyboardInterrupt):
            code = server.process.wait()
            raise ToolError(f"the server ended with {describe_end(code)}:\n{tail(server.log())}")


def _parser(images: Images) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s native --", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    build = verbs.add_parser("build", help="compile the server; without a verb, for the CPU")
    build.add_argument(
        "image", nargs="?", choices=[*sorted(images.images), SANITIZED], default="cpu"
    )
    build.add_argument("--source", type=Path, help="an archive of ours, or where it was unpacked")
    add_cuda_argument(build)
    serve = verbs.add_parser("serve", help="boot a profile until Ctrl-C")
    add_model_argument(serve, load_models())
    add_task_argument(serve)
    add_weights_arguments(serve, load_models())
    add_gpu_argument(serve)
    archive = verbs.add_parser("archive", help="write the source for a machine without a network")
    archive.add_argument("file", nargs="?", type=Path, default=DEFAULT_ARCHIVE)
    for each in (build, archive):
        add_origin_argument(each)
    return parser


def main(arguments: Sequence[str]) -> None:
    """Build, serve or pack, as the first argument says; build without any."""
    images = load_images()
    options = _parser(images).parse_args(list(arguments) or ["build"])
    match options.verb:
        case "build":
            image = "cpu" if options.image == SANITIZED else options.image
            _build(images, images.images[image], options)
        case "serve":
            _serve(options)
        case "archive":
            source = resolve_source(images, choose(options.origin))
            write_archive(source, options.file)


if __name__ == "__main__":
    sys.exit(run_verb(main))
