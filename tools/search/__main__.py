"""Search by meaning in a database: `nox -s search -- elasticsearch`, `... postgresql`.

The database is booted, or taken where its address is given, with the embedding server beside it.
The example is loaded and searched, and each of the five searches must find its document. What was
booted is removed, unless --keep leaves it for a look; `nox -s down` removes it then. `... sizes`
needs no database: it measures what each size and form of vectors costs in ranking.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.common.errors import run_verb
from tools.facts.corpus import load_corpus
from tools.facts.images import load_images
from tools.facts.models import Models, load_models
from tools.search import sizes
from tools.search.elasticsearch import run as elasticsearch
from tools.search.found import Finding, judge, show
from tools.search.postgresql import run as postgresql
from tools.serving.options import (
    add_image_arguments,
    add_model_argument,
    add_weights_arguments,
)

#: A database is a module with add_arguments, refuse and run, and the measure of its scores.
DATABASES = {"elasticsearch": elasticsearch, "postgresql": postgresql}
#: What searches without one.
SIZES = "sizes"


def _options(models: Models, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line, refusing what does not belong together."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="nox -s search --", description=__doc__, formatter_class=formatter
    )
    modes = parser.add_subparsers(dest="mode", required=True, metavar="DATABASE")
    for name, module in {**DATABASES, SIZES: sizes}.items():
        text = module.__doc__ or ""
        one = modes.add_parser(
            name, help=text.partition("\n")[0], description=text, formatter_class=formatter
        )
        add_model_argument(one, models, "nano")
        add_weights_arguments(one, models)
        add_image_arguments(one, gpu=name == SIZES)
        one.set_defaults(parser=one)
        if name in DATABASES:
            one.add_argument(
                "--keep",
                action="store_true",
                help="leave what is booted running; `nox -s down` ends it",
            )
            DATABASES[name].add_arguments(one)
    options = parser.parse_args(arguments)
    if options.mode in DATABASES:
        DATABASES[options.mode].refuse(options.parser, options)
    return options


def main(arguments: Sequence[str]) -> None:
    """Search the example in a database, or with every size and form of vectors."""
    models = load_models()
    options = _options(models, arguments)
    if options.mode == SIZES:
        sizes.run(load_images(), models, options)
    else:
        _search(models, options)


def _search(models: Models, options: argparse.Namespace) -> None:
    """Boot or take a database, load and search the example, judge what was found."""
    database = DATABASES[options.mode]
    found: list[Finding] = []
    try:
        database.run(models, load_corpus(), options, found)
    finally:
        # What was found before a search failed is worth as much as before.
        show(found, database.MEASURE)
    judge(found)


if __name__ == "__main__":
    sys.exit(run_verb(main))
