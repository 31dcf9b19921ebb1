"""llama-server on this machine itself, without an engine: `nox -s native`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tools.catalog import Image, Images, load_images, load_models
from tools.console import say
from tools.cuda import add_cuda_argument, wanted_architectures
from tools.docker_client import CUDA_COMPOSE_FILE
from tools.errors import ToolError, run_verb
from tools.fetch import fetch_model, models_dir
from tools.gpu_report import report
from tools.native_build import (
    SANITIZED,
    build_native,
    carried_source,
    find_build,
    write_archive,
)
from tools.native_server import describe_end, native_booted, tail
from tools.origins import add_origin_argument, choose, resolve_source
from tools.synthetic import ensure_synthetic

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
    model = models.models[options.model]
    quantisation = models.default_quantisation
    build = find_build("cuda" if options.gpu else "cpu")
    file = (
        ensure_synthetic(models_dir(), model, "tiny", "Q8_0")
        if options.synthetic
        else fetch_model(models, model.name, quantisation)
    )
    overrides = [CUDA_COMPOSE_FILE] if options.gpu else []
    with native_booted(
        build.server, model, file, synthetic=options.synthetic, overrides=overrides
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
    serve.add_argument("model", choices=sorted(load_models().models))
    serve.add_argument("--gpu", action="store_true", help="the cuda build, as compose/cuda.yaml")
    serve.add_argument("--synthetic", action="store_true", help="on synthetic weights")
    archive = verbs.add_parser("archive", help="write the source for a machine without a network")
    archive.add_argument("file", nargs="?", type=Path, default=DEFAULT_ARCHIVE)
    verbs.add_parser("report", help="measure the cuda build on this GPU, for docs/serve/gpu.md")
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
        case "report":
            report()


if __name__ == "__main__":
    sys.exit(run_verb(main))
