"""Semantic search in a real PostgreSQL with pgvector, and what a person is told when it fails."""

from __future__ import annotations

import math
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.contract.checks.inputs import same
from tests.contract.faults.retrieval import RetrievalBroken
from tests.support.client import Client
from tests.support.containers import docker, inspect, logs, started, wait_for_end
from tests.support.requirements import need
from tests.support.server import Server
from tests.support.toy.server import ToyServer
from tools.common.errors import ToolError
from tools.engine.docker import run_docker
from tools.facts.corpus import load_corpus
from tools.facts.models import load_models
from tools.facts.paths import ROOT
from tools.origins.choose import Choice
from tools.search.__main__ import main
from tools.search.found import Finding, judge
from tools.search.postgresql.boot import COMPOSE_FILE, booted_database, build_database
from tools.search.postgresql.load import SCHEMA, connected, load, search
from tools.search.postgresql.run import demonstrate
from tools.serving.client import EmbeddingServer
from tools.serving.profile import clean_environment, model_environment
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

MODELS, CORPUS = load_models(), load_corpus()
NANO = MODELS.models["nano"]

#: A distance is 1 less a sum of up to 1024 products of float32 numbers, whose magnitudes sum up
#: to at most 1 for vectors of length 1; in float32 that is off by at most 1024 x 6e-8.
TOLERANCE = 7e-5

#: Seconds until a database answers; it takes about three, the rest is for a machine that is busy.
BOOT_SECONDS = 120


@pytest.fixture(scope="session")
def database_image(engine: None, pytestconfig: pytest.Config) -> str:
    try:
        return build_database(Choice())
    except ToolError as error:
        need(pytestconfig, "postgres", available=False, why=str(error))
        raise


@pytest.fixture(scope="session")
def postgres(database_image: str) -> Iterator[str]:
    with booted_database(database_image) as dsn:
        yield dsn


@pytest.fixture
def dsn(postgres: str) -> Iterator[str]:
    """An empty database of the test's own."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def toy() -> Iterator[EmbeddingServer]:
    with ToyServer(NANO) as server:
        yield EmbeddingServer(server.described().base_url)


def paste(connection: psycopg.Connection, block: str) -> list[Any]:
    """Run statements as psql would, and return the rows of the last one that has any."""
    cursor = connection.execute(block.encode())
    rows: list[Any] = []
    while True:
        if cursor.description is not None:
            rows = cursor.fetchall()
        if not cursor.nextset():
            return rows


def query(dsn: str, statement: str) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return paste(connection, statement)


def patched(server: Server, config: pytest.Config) -> EmbeddingServer:
    need(config, "patches", available=not server.bare, why="built with --no-patches")
    return EmbeddingServer(server.base_url, server.api_key)


# ------------------------------------------------------------------ the whole path


def test_the_searches_find_their_documents_at_both_widths(
    server: Server, dsn: str, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = patched(server, pytestconfig)
    with connected(dsn) as connection:
        found: list[Finding] = []
        demonstrate(connection, asked, CORPUS, 256, found)
    judge(found)
    printed = capsys.readouterr().out
    texts = [each.lexical if server.synthetic else each.text for each in CORPUS.searches]
    for size, index in (
        (server.model.dims, "documents_embedding_hnsw"),
        (256, "documents_embedding_short_hnsw"),
    ):
        assert f"searching {size} dimensions through the index {index}\n" in printed
        assert [each.search for each in found if each.index == index] == texts
    assert all(each.score is not None and 0 < each.score < 1 for each in found)
    assert ("synthetic weights" in printed) == server.synthetic


def test_stored_vectors_and_distances_are_the_servers(
    server: Server, dsn: str, pytestconfig: pytest.Config
) -> None:
    """Compared with prefixes put there by hand, and with every distance in numpy."""
    asked = patched(server, pytestconfig)
    with Client(server.base_url, server.api_key) as client:
        documents = client.embed([MODELS.document_prefix + each.text for each in CORPUS.documents])
        queries = client.embed([MODELS.query_prefix + each.lexical for each in CORPUS.searches])
    with connected(dsn) as connection:
        full, short = load(connection, asked, CORPUS, 256)
        stored = connection.execute(
            f"SELECT embedding, embedding <=> subvector(embedding, 1, {full.dimensions}), "
            "embedding_short <=> subvector(embedding, 1, 256) "
            f"FROM {SCHEMA}.documents ORDER BY array_position(%s, id)",
            ([each.id for each in CORPUS.documents],),
        ).fetchall()
        hits = search(connection, asked, CORPUS, full, lexical=True)
        distances = [
            [
                row[0]
                for row in connection.execute(
                    f"SELECT embedding <=> %s FROM {SCHEMA}.documents "
                    "ORDER BY array_position(%s, id)",
                    (query, [each.id for each in CORPUS.documents]),
                )
            ]
            for query in queries
        ]
    assert (full.dimensions, short.dimensions) == (server.model.dims, 256)
    vectors = np.array([row[0].to_list() for row in stored])
    assert (vectors * documents).sum(axis=1).min() >= same(server)
    assert max(row[2] for row in stored) < TOLERANCE, "the server's truncation is another one"
    exact = 1 - queries @ vectors.T
    assert np.abs(np.array(distances) - exact).max() < TOLERANCE
    # The search asked for its queries' vectors by itself. Two of cosine c, of length 1, are
    # sqrt(2 - 2c) apart, and so at most are their products with a third.
    apart = math.sqrt(2 - 2 * same(server))
    for hit, row in zip(hits, exact, strict=True):
        assert hit.found == CORPUS.documents[int(row.argmin())].id
        assert hit.score == pytest.approx(row.min(), abs=apart)


def test_a_second_run_replaces_the_same_rows(toy: EmbeddingServer, dsn: str) -> None:
    with connected(dsn) as connection:
        load(connection, toy, CORPUS, 64)
        connection.execute(f"UPDATE {SCHEMA}.documents SET body = 'old'")
        load(connection, toy, CORPUS, 64)
    assert sorted(query(dsn, f"SELECT id, body FROM {SCHEMA}.documents")) == sorted(
        (each.id, each.text) for each in CORPUS.documents
    )
    indexes = query(dsn, f"SELECT count(*) FROM pg_indexes WHERE schemaname = '{SCHEMA}'")
    assert indexes == [(3,)]  # the primary key and one a width


# ------------------------------------------------------------------ docs/search/postgresql.md


def test_every_block_of_the_docs_runs_and_does_what_they_say(
    server: Server, dsn: str, pytestconfig: pytest.Config
) -> None:
    patched(server, pytestconfig)
    text = (ROOT / "docs" / "search" / "postgresql.md").read_text()
    text = text.replace("768", str(server.model.dims)).replace("localhost:8080", "SERVER")
    text = text.replace(NANO.served_as, server.model.served_as)
    blocks = re.findall(r"```(sql|python)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sql", "python", *["sql"] * 7, "python"]
    schema, program, alike, filtered, plan, reranked, by_bits, sizes, compact, bits_program = (
        block for _, block in blocks
    )

    with psycopg.connect(dsn, autocommit=True) as connection:
        paste(connection, schema)
        assert len(lines_of(program, server, dsn)) == 3

        nearest = paste(connection, alike)
        assert len(nearest) == 3
        assert "cors" not in dict(nearest)

        with_port = {each.id for each in CORPUS.documents if "port" in each.text}
        assert {name for name, _ in paste(connection, filtered)} <= with_port
        assert paste(connection, filtered)[0][0] == "tls-renewal"

        assert any(
            "Index Scan using documents_embedding" in line for (line,) in paste(connection, plan)
        )

        for best in (paste(connection, reranked), paste(connection, by_bits)):
            assert best[0] == ("slow-postgres", 0.0)
            assert len(best) == 3

        measured = dict(paste(connection, sizes))

        paste(connection, compact)
        assert len(lines_of(bits_program, server, dsn)) == 3
        same_bits = f"compact.bits = binary_quantize(documents.embedding)::bit({server.model.dims})"
        joined = "FROM compact JOIN documents USING (id)"
        assert paste(connection, f"SELECT count(*), bool_and({same_bits}) {joined}") == [
            (len(CORPUS.documents), True)
        ]
        apart = "abs(compact.embedding <=> documents.embedding::halfvec)"
        ((worst,),) = paste(connection, f"SELECT max({apart}) {joined}")
        assert worst < TOLERANCE
    said = dict(re.findall(r"\| `(sample_\w+)` +\| (\d+) ", text))
    assert set(measured) == set(said)
    if server.model == NANO:
        # The levels of the graph are drawn by chance: one vector in 16 has further neighbours,
        # which may take a page of 8192 bytes more or less, 16 bytes a vector each.
        for name, size in said.items():
            assert measured[name] == pytest.approx(int(size), abs=3 * 8192 / 500)


def lines_of(program: str, server: Server, dsn: str) -> list[str]:
    """Run a program of the docs against this server and database, and return what it prints."""
    address = "postgresql://postgres@localhost:5432/postgres"
    assert address in program
    program = program.replace("http://SERVER", server.base_url).replace(address, dsn)
    program = program.replace("unused", server.api_key or "unused")
    printed = StringIO()
    names: dict[str, Any] = {}
    with redirect_stdout(printed):
        exec(compile(program, "docs/search/postgresql.md", "exec"), names)  # noqa: S102
    # Where a program ends, its connections do.
    for client in (names["documents"], names["queries"]):
        client.close()
    return printed.getvalue().splitlines()


# ------------------------------------------------------------------ what a person is told


def test_a_search_that_finds_another_document_is_an_error(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        ToyServer(NANO, RetrievalBroken) as server,
        pytest.raises(ToolError, match="searches did not find their document"),
    ):
        main(["postgresql", "--server-url", server.described().base_url, "--dsn", dsn])
    assert "  NO\n" in capsys.readouterr().out


def test_an_index_that_is_gone_is_noticed(toy: EmbeddingServer, dsn: str) -> None:
    with connected(dsn) as connection:
        width, _ = load(connection, toy, CORPUS, 256)
        connection.execute(f"DROP INDEX {SCHEMA}.{width.index}")
        with pytest.raises(ToolError, match=f"does not use the index {width.index}"):
            search(connection, toy, CORPUS, width, lexical=True)


def test_a_table_of_another_size_is_named_with_what_to_do(toy: EmbeddingServer, dsn: str) -> None:
    with connected(dsn) as connection:
        load(connection, toy, CORPUS, 256)
    with (
        pytest.raises(ToolError, match=r"embedding_short is vector\(256\), and vector\(64\).*DROP"),
        connected(dsn) as connection,
    ):
        load(connection, toy, CORPUS, 64)
    # Nothing of it was done.
    assert query(dsn, f"SELECT count(*) FROM {SCHEMA}.documents") == [(10,)]


def test_a_refused_size_leaves_the_database_as_it_was(toy: EmbeddingServer, dsn: str) -> None:
    with (
        pytest.raises(ToolError, match="answered 400: dimensions must be one of"),
        connected(dsn) as connection,
    ):
        load(connection, toy, CORPUS, 300)
    assert query(dsn, f"SELECT count(*) FROM pg_namespace WHERE nspname = '{SCHEMA}'") == [(0,)]


def test_a_database_that_does_not_answer_is_said_without_its_password(
    toy: EmbeddingServer, unused_port: int
) -> None:
    address = f"postgresql://postgres:hunter2@127.0.0.1:{unused_port}/postgres"
    with pytest.raises(ToolError, match=r"refused.*--dsn") as fault:
        main(["postgresql", "--server-url", toy.base_url, "--dsn", address])
    assert "hunter2" not in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody else can take, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "wrong"}, 'password authentication failed for user "postgres"'),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_a_refused_connection_says_why(
    toy: EmbeddingServer, postgres: str, wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(ToolError, match=said):
        main(
            ["postgresql", "--server-url", toy.base_url, "--dsn", make_conninfo(postgres, **wrong)]
        )


def test_an_address_that_is_none_is_said(toy: EmbeddingServer) -> None:
    with pytest.raises(ToolError, match="PostgreSQL"):
        main(["postgresql", "--server-url", toy.base_url, "--dsn", "localhost"])


def test_a_user_who_may_not_create_the_extension_is_told_who_may(
    toy: EmbeddingServer, dsn: str
) -> None:
    name = f"user_{secrets.token_hex(4)}"
    query(dsn, f"CREATE USER {name} PASSWORD 'secret'")
    try:
        with (
            pytest.raises(ToolError, match=f"user {name} may not create the extension"),
            connected(make_conninfo(dsn, user=name, password="secret")) as connection,
        ):
            load(connection, toy, CORPUS, 256)
        query(dsn, "CREATE EXTENSION vector")
        with (
            pytest.raises(ToolError, match="PostgreSQL refused: permission denied for database"),
            connected(make_conninfo(dsn, user=name, password="secret")) as connection,
        ):
            load(connection, toy, CORPUS, 256)
    finally:
        query(dsn, f"DROP USER {name}")


# ------------------------------------------------------------------ the container


def wait_for_database(container: str, password: str) -> str:
    """Wait until the database of a container answers, and return its address."""
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        state = inspect(container)["State"]
        assert state["Running"], logs(container)
        address = docker("port", container, "5432/tcp").splitlines()[0]
        dsn = f"postgresql://postgres:{password}@{address}/postgres"
        try:
            query(dsn, "SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, logs(container)
            time.sleep(0.1)
        else:
            return dsn


def database_container(*more: str) -> list[str]:
    return ["--publish", "127.0.0.1::5432", "--env", "POSTGRES_PASSWORD=secret", *more]


def test_a_postgres_without_pgvector_is_told_where_to_get_it(
    toy: EmbeddingServer, database_image: str
) -> None:
    without = (
        "rm /usr/share/postgresql/17/extension/vector.control "
        "&& exec setpriv --reuid=postgres --regid=postgres --init-groups entrypoint"
    )
    options = database_container("--user", "root", "--entrypoint", "sh")
    with started(database_image, options=options, arguments=["-c", without]) as container:
        dsn = wait_for_database(container, "secret")
        with pytest.raises(ToolError, match=r"no pgvector; install .*postgresql-17-pgvector"):
            main(["postgresql", "--server-url", toy.base_url, "--dsn", dsn])


def test_nothing_is_left_of_an_interrupted_run(database_image: str) -> None:
    projects = []

    def interrupted() -> None:
        with booted_database(database_image) as dsn:
            container = docker(
                "ps", "--quiet", "--filter", f"publish={conninfo_to_dict(dsn)['port']}"
            )
            projects.append(inspect(container)["Config"]["Labels"]["com.docker.compose.project"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (project,) = projects
    ours = ("--filter", f"label=com.docker.compose.project={project}", "--quiet")
    assert docker("ps", "--all", *ours) == ""
    assert docker("volume", "ls", *ours) == ""
    assert docker("network", "ls", *ours) == ""


def test_a_database_that_does_not_start_is_reported_with_its_log(image: str) -> None:
    """An image that is no database: its server ends for want of a model."""
    with pytest.raises(ToolError, match="database did not start") as fault, booted_database(image):
        pytest.fail("it came up")
    assert "failed to load model" in str(fault.value)


def test_a_new_database_wants_a_password(database_image: str) -> None:
    with started(database_image) as container:
        assert wait_for_end(container) != 0
        assert "POSTGRES_PASSWORD: is needed" in logs(container)


def test_an_interrupted_first_start_begins_anew(database_image: str) -> None:
    torn = 'mkdir "$PGDATA.part" && echo 17 > "$PGDATA.part/PG_VERSION" && exec entrypoint'
    options = database_container("--entrypoint", "sh")
    with started(database_image, options=options, arguments=["-c", torn]) as container:
        assert query(wait_for_database(container, "secret"), "SELECT 1") == [(1,)]


def test_the_database_knows_no_password_and_builds_no_index_in_parallel(
    database_image: str,
) -> None:
    with started(database_image, options=database_container()) as container:
        dsn = wait_for_database(container, "secret")
        assert query(dsn, "SHOW max_parallel_maintenance_workers") == [("0",)]
        seen = docker("exec", container, "cat", "/proc/1/environ")
        assert "PGDATA" in seen
        assert "secret" not in seen


def test_compose_puts_both_on_one_network_and_keeps_the_data(
    image: str, database_image: str
) -> None:
    project = f"jina-embeddings-v5-pgvector-test-{secrets.token_hex(4)}"
    compose = ["compose", "--project-name", project, "--file", str(COMPOSE_FILE)]
    file = ensure_synthetic(models_dir(), NANO, "tiny", "Q8_0")
    environment = {
        **clean_environment(),
        **model_environment(NANO, file, synthetic=True),
        "JINA_IMAGE": image,
        "JINA_PORT": "",
        "JINA_POSTGRES_IMAGE": database_image,
        "JINA_POSTGRES_PORT": "",
        "JINA_POSTGRES_PASSWORD": "secret",
    }

    def run(*arguments: str) -> str:
        result = run_docker([*compose, *arguments], environment=environment, timeout=300)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def address(service: str, port: int) -> str:
        published = run("--profile", "nano", "port", service, str(port))
        assert published.startswith("127.0.0.1:")
        return published

    try:
        run("--profile", "nano", "up", "--wait", "--no-build", "--pull", "never")
        run("exec", "-T", "database", "bash", "-c", "</dev/tcp/nano/8080")
        run("exec", "-T", "database", "psql", "--command", "CREATE TABLE kept AS SELECT 7 AS n")
        dsn = f"postgresql://postgres:secret@{address('database', 5432)}/postgres"
        main(["postgresql", "--server-url", f"http://{address('nano', 8080)}", "--dsn", dsn])
        run("--profile", "*", "down")
        run("up", "--wait", "--no-build", "--pull", "never")
        dsn = f"postgresql://postgres:secret@{address('database', 5432)}/postgres"
        assert query(dsn, f"SELECT n, count(*) FROM kept, {SCHEMA}.documents GROUP BY n") == [
            (7, 10)
        ]
    finally:
        run("--profile", "*", "down", "--volumes")
