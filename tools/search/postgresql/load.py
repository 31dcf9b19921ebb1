"""The example in PostgreSQL: its table and indexes, and the searches through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from packaging.version import Version
from pgvector.psycopg import register_vector
from psycopg import sql

from tools.common.errors import ToolError
from tools.facts.corpus import Corpus
from tools.search.found import Finding
from tools.serving.client import EmbeddingServer

#: All that is ours in a person's database; dropping it removes every trace.
SCHEMA = "jina_example"
TABLE = sql.Identifier(SCHEMA, "documents")

#: The first release of pgvector with HNSW indexes (its CHANGELOG).
OLDEST_PGVECTOR = Version("0.5.0")

_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Width:
    """A column of vectors of one size, and its index.

    ``requested`` is the server's ``dimensions``; None is its full size.
    """

    column: str
    requested: int | None
    dimensions: int

    @property
    def index(self) -> str:
        return f"documents_{self.column}_hnsw"


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection]:
    """Connect to a database; what it refuses becomes a ToolError."""
    try:
        connection = psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS)
    except psycopg.Error as error:
        raise ToolError(
            f"PostgreSQL does not answer: {_said(error)}; check the address, user and password "
            "of --dsn, or leave it out to use a container"
        ) from None
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        raise ToolError(f"PostgreSQL refused: {_said(error)}") from None


def _said(error: psycopg.Error) -> str:
    """Return what PostgreSQL said, on one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def require_extension(connection: psycopg.Connection) -> None:
    """Create the extension where it is not yet. Raises ToolError when there is none, or too old."""
    found = connection.execute(
        "SELECT coalesce(installed_version, default_version), installed_version IS NOT NULL "
        "FROM pg_available_extensions WHERE name = 'vector'"
    ).fetchone()
    if found is None:
        raise ToolError(
            "this PostgreSQL has no pgvector; install it on the database's machine (on Debian 13 "
            "`apt-get install postgresql-17-pgvector`), or leave --dsn out to use a container"
        )
    version, created = found
    check_version(version)
    if created:
        return
    try:
        connection.execute("CREATE EXTENSION vector")
    except psycopg.errors.InsufficientPrivilege:
        raise ToolError(
            f"user {connection.info.user} may not create the extension; have a superuser run "
            f"`CREATE EXTENSION vector` in database {connection.info.dbname}"
        ) from None


def check_version(version: str) -> None:
    """Raise ToolError for a pgvector without HNSW indexes."""
    if Version(version) < OLDEST_PGVECTOR:
        raise ToolError(
            f"pgvector {version} has no HNSW indexes, which came with {OLDEST_PGVECTOR}; install a "
            "newer one and run `ALTER EXTENSION vector UPDATE`"
        )


def load(
    connection: psycopg.Connection, server: EmbeddingServer, corpus: Corpus, truncated: int
) -> list[Width]:
    """Bring the documents and their vectors into the database, as a whole or not at all.

    A second time replaces the same rows. Raises ToolError when the server or the database refuses.
    """
    texts = [document.text for document in corpus.documents]
    full = server.embed(texts, side="document")
    short = server.embed(texts, side="document", dimensions=truncated)
    widths = [
        Width("embedding", None, full.shape[1]),
        Width("embedding_short", truncated, short.shape[1]),
    ]
    with connection.transaction():
        require_extension(connection)
        register_vector(connection)
        _create_table(connection, widths)
        with connection.cursor() as cursor:
            cursor.executemany(
                sql.SQL(
                    "INSERT INTO {} (id, body, embedding, embedding_short) VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (id) DO UPDATE SET body = excluded.body, "
                    "embedding = excluded.embedding, embedding_short = excluded.embedding_short"
                ).format(TABLE),
                [
                    (document.id, document.text, vector, shorter)
                    for document, vector, shorter in zip(corpus.documents, full, short, strict=True)
                ],
            )
        for width in widths:
            # The vectors have length 1, so cosine and inner product rank alike. For cosine,
            # pgvector's index compares by inner product too; its distances are easier to read.
            connection.execute(
                sql.SQL(
                    "CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw ({} vector_cosine_ops)"
                ).format(sql.Identifier(width.index), TABLE, sql.Identifier(width.column))
            )
    return widths


def _create_table(connection: psycopg.Connection, widths: Sequence[Width]) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
    columns = sql.SQL(", ").join(
        sql.SQL("{} vector({}) NOT NULL").format(sql.Identifier(each.column), each.dimensions)
        for each in widths
    )
    connection.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (id text PRIMARY KEY, body text NOT NULL, {})"
        ).format(TABLE, columns)
    )
    for width in widths:
        found = connection.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attname = %s",
            (f"{SCHEMA}.documents", width.column),
        ).fetchone()
        wanted = f"vector({width.dimensions})"
        if found is None or found[0].rpartition(".")[2] != wanted:
            raise ToolError(
                f"{SCHEMA}.documents is from another model or size: {width.column} is "
                f"{found[0] if found else 'missing'}, and {wanted} is needed; "
                f"`DROP SCHEMA {SCHEMA} CASCADE` removes it"
            )


def search(
    connection: psycopg.Connection,
    server: EmbeddingServer,
    corpus: Corpus,
    width: Width,
    *,
    lexical: bool,
) -> list[Finding]:
    """Run the searches through the index of one width.

    ``lexical`` takes the wordings that share a document's words, which is all that synthetic
    weights understand. Raises ToolError when PostgreSQL would not use the index.
    """
    texts = [each.lexical if lexical else each.text for each in corpus.searches]
    vectors = server.embed(texts, side="query", dimensions=width.requested)
    nearest = sql.SQL("SELECT id, {} <=> %s AS distance FROM {} ORDER BY distance LIMIT 1").format(
        sql.Identifier(width.column), TABLE
    )
    explain = sql.SQL("EXPLAIN (FORMAT JSON) {}").format(nearest)
    findings = []
    with connection.transaction():
        # Ten rows are read faster than any index, and the planner knows it.
        connection.execute("SET LOCAL enable_seqscan = off")
        for text, expected, vector in zip(texts, corpus.searches, vectors, strict=True):
            [(plans,)] = connection.execute(explain, (vector,)).fetchall()
            if width.index not in indexes_used(plans[0]["Plan"]):
                raise ToolError(
                    f"PostgreSQL does not use the index {width.index}; "
                    f"`DROP SCHEMA {SCHEMA} CASCADE` and another run make it anew"
                )
            [(found, distance)] = connection.execute(nearest, (vector,)).fetchall()
            findings.append(Finding(width.index, text, expected.finds, found, distance))
    return findings


def indexes_used(plan: dict[str, Any]) -> set[str]:
    """Return the names of the indexes in a plan of EXPLAIN's JSON."""
    names = {plan["Index Name"]} if "Index Name" in plan else set()
    return names.union(*(indexes_used(each) for each in plan.get("Plans", [])))
