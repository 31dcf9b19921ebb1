"""PostgreSQL with pgvector: the example's vectors in a table, searched through HNSW indexes.

At full and at truncated width. With --dsn that is done in any database, in the schema
jina_example; a second time replaces the same rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tools.common.console import say
from tools.facts.corpus import Corpus
from tools.facts.images import load_images
from tools.facts.models import Models
from tools.origins.choose import choose
from tools.search.found import Finding
from tools.search.postgresql.boot import booted_database, build_database
from tools.search.postgresql.load import SCHEMA, connected, load, search
from tools.serving.client import EmbeddingServer, own_key
from tools.serving.options import choose_image, choose_weights
from tools.serving.profile import booted

MEASURE = "distance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this database alone."""
    parser.add_argument(
        "--server-url",
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


def refuse(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the usage for options that do not belong together."""
    if options.dsn and options.server_url and options.keep:
        parser.error("--keep is for what is booted here, and with --dsn and --server-url none is")


def run(models: Models, corpus: Corpus, options: argparse.Namespace, found: list[Finding]) -> None:
    """Boot what is not given, load the example, and add to ``found`` what its searches found."""
    if options.server_url:
        # A wrong address is said before anything is built.
        _given_server(options).model()
    with (
        _database(options) as dsn,
        connected(dsn) as connection,
        _server(models, options) as server,
    ):
        demonstrate(connection, server, corpus, options.dimensions, found)


def demonstrate(
    connection: psycopg.Connection,
    server: EmbeddingServer,
    corpus: Corpus,
    truncated: int,
    found: list[Finding],
) -> None:
    """Load the example and add to ``found`` what its searches found at both widths."""
    model = server.model()
    lexical = model.endswith("-synthetic")
    say(f"embedding {len(corpus.documents)} documents with {model}")
    for width in load(connection, server, corpus, truncated):
        say(f"searching {width.dimensions} dimensions through the index {width.index}")
        found += search(connection, server, corpus, width, lexical=lexical)
    if lexical:
        say(
            "These are synthetic weights, which only count shared words, so the searches are "
            "worded to share some."
        )


@contextmanager
def _database(options: argparse.Namespace) -> Iterator[str]:
    if options.dsn:
        yield options.dsn
        return
    with booted_database(build_database(choose(options.origin)), keep=options.keep) as dsn:
        yield dsn
        if options.keep:
            say(f"left running: {dsn}; `nox -s down` removes it")


@contextmanager
def _server(models: Models, options: argparse.Namespace) -> Iterator[EmbeddingServer]:
    if options.server_url:
        yield _given_server(options)
        return
    model = models.models[options.model]
    image = choose_image(load_images(), options)
    weights = choose_weights(models, model, options)
    say(f"booting {model.name} on {weights.file.name}")
    with booted(
        model, weights.file, image=image, synthetic=weights.synthetic, keep=options.keep
    ) as running:
        yield EmbeddingServer(running.base_url)
        if options.keep:
            say(f"left running: {running.base_url}; `nox -s down` removes it")


def _given_server(options: argparse.Namespace) -> EmbeddingServer:
    return EmbeddingServer(options.server_url, own_key())
