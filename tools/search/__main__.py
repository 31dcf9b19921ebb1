"""Search by meaning in a database: `nox -s search -- elasticsearch`, `... postgresql`.

The database is booted, or taken where its address is given, with the embedding server beside it.
The example is loaded and searched, and each of the five searches must find its document. What was
booted is removed, unless --keep leaves it for a look; `nox -s down` removes it then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.common.errors import run_verb
from tools.facts.corpus import load_corpus
from tools.facts.models import Models, load_models
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


def _options(models: Models, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line, refusing what does not belong together."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="nox -s search --", description=__doc__, formatter_class=formatter
    )
    databases = parser.add_subparsers(dest="database", required=True, metavar="DATABASE")
    for name, database in DATABASES.items():
        text = database.__doc__ or ""
        one = databases.add_parser(
            name, help=text.partition("\n")[0], description=text, formatter_class=formatter
        )
        add_model_argument(one, models, "nano")
        add_weights_arguments(one, models)
        add_image_arguments(one)
        one.add_argument(
            "--keep",
            action="store_true",
            help="leave what is booted running; `nox -s down` ends it",
        )
        database.add_arguments(one)
        one.set_defaults(parser=one)
    options = parser.parse_args(arguments)
    DATABASES[options.database].refuse(options.parser, options)
    return options


def main(arguments: Sequence[str]) -> None:
    """Boot or take a database, load and search the example, judge what was found."""
    models = load_models()
    options = _options(models, arguments)
    database = DATABASES[options.database]
    found: list[Finding] = []
    try:
        database.run(models, load_corpus(), options, found)
    finally:
        # What was found before a search failed is worth as much as before.
        show(found, database.MEASURE)
    judge(found)


if __name__ == "__main__":
    sys.exit(run_verb(main))
