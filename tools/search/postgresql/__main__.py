"""Semantic search in PostgreSQL: `nox -s pgvector`.

Loads the example corpus through a running embedding server into a database with pgvector, at full
and truncated width, each with an HNSW index, and runs the example searches. Without --base-url
nano is booted (on synthetic weights where no real ones are in the models folder), without --dsn
a database.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg

from tools.common.console import say, table
from tools.common.errors import ToolError, run_verb
from tools.facts.corpus import Corpus, load_corpus
from tools.facts.images import load_images
from tools.facts.models import Models, load_models
from tools.origins.choose import choose
from tools.search.postgresql.boot import booted_database, build_database
from tools.search.postgresql.load import SCHEMA, connected, load, search
from tools.serving.client import EmbeddingServer
from tools.serving.options import (
    add_image_arguments,
    add_model_argument,
    add_weights_arguments,
    choose_image,
    choose_weights,
)
from tools.serving.profile import booted


def demonstrate(
    connection: psycopg.Connection, server: EmbeddingServer, corpus: Corpus, truncated: int
) -> None:
    """Load, search at both widths and print the tables.

    Raises ToolError when a search does not find its document.
    """
    model = server.model()
    lexical = model.endswith("-synthetic")
    say(f"embedding {len(corpus.documents)} documents with {model}")
    widths = load(connection, server, corpus, truncated)
    results = [search(connection, server, corpus, each, lexical=lexical) for each in widths]
    for width, hits in zip(widths, results, strict=True):
        say(f"\n{width.dimensions} dimensions, through the index {width.index}")
        rows = [
            (each.search, each.found, f"{each.distance:.4f}", "yes" if each.right else "NO")
            for each in hits
        ]
        table(rows, ("search", "found document", "distance", "ok"))
    if lexical:
        say(
            "\nThese were synthetic weights, which only count shared words, so the searches were "
            "worded to share some."
        )
    wrong = sum(not hit.right for hits in results for hit in hits)
    if wrong:
        raise ToolError(f"{wrong} searches found another document than the one that answers them")


@contextmanager
def booted_server(models: Models, options: argparse.Namespace) -> Iterator[EmbeddingServer]:
    """Boot the model that the command line names, and yield where it answers."""
    model = models.models[options.model]
    image = choose_image(load_images(), options)
    weights = choose_weights(models, model, options)
    say(f"booting {model.name} on {weights.file.name}")
    with booted(model, weights.file, image=image, synthetic=weights.synthetic) as running:
        yield EmbeddingServer(running.base_url)


def main(arguments: Sequence[str]) -> None:
    """Boot what is not given, load the example, search it, tidy up."""
    models = load_models()
    parser = argparse.ArgumentParser(prog="nox -s pgvector --", description=__doc__)
    parser.add_argument(
        "--base-url",
        help="a running server of ours, such as http://localhost:8080; its key is LLAMA_API_KEY",
    )
    parser.add_argument(
        "--dsn",
        help="a database, such as postgresql://postgres@localhost:5432/postgres; the tables go "
        f"into the schema {SCHEMA}, and libpq's variables (PGPASSWORD, ...) are respected",
    )
    parser.add_argument(
        "--dimensions",
        type=int,
        default=256,
        help="the truncated width, one of the model's Matryoshka sizes (default: %(default)s)",
    )
    add_model_argument(parser, models, "nano")
    add_weights_arguments(parser, models)
    add_image_arguments(parser)
    options = parser.parse_args(arguments)
    choice = choose(options.origin)
    server = None
    if options.base_url:
        server = EmbeddingServer(options.base_url, os.environ.get("LLAMA_API_KEY"))
        server.model()  # a wrong address is said before anything is built
    with ExitStack() as stack:
        dsn = options.dsn
        if dsn is None:
            dsn = stack.enter_context(booted_database(build_database(choice)))
        connection = stack.enter_context(connected(dsn))
        server = server or stack.enter_context(booted_server(models, options))
        demonstrate(connection, server, load_corpus(), options.dimensions)


if __name__ == "__main__":
    sys.exit(run_verb(main))
