"""The console files and what sends them, against a recorder (never an Elasticsearch)."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from packaging.version import Version

from tests.support.file_server import closed_port
from tests.support.recording_cluster import RecordingCluster, Sent, recording_cluster
from tests.support.requirements import need
from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus
from tools.facts.models import Model, load_models
from tools.facts.paths import ROOT
from tools.search.__main__ import main
from tools.search.elasticsearch.assets import (
    ASSETS,
    FIRST_RELEASES,
    WAYS,
    asset,
    compose_url,
    render,
)
from tools.search.elasticsearch.boot import COMPOSE_FILE, PROJECT
from tools.search.elasticsearch.console_file import Request, parse
from tools.search.elasticsearch.run import default_ways, run_way
from tools.search.elasticsearch.runner import connect, send, version
from tools.search.found import Finding, show

MODELS, CORPUS = load_models(), load_corpus()
NANO = MODELS.models["nano"]
FILES = [
    pytest.param(model, way, id=f"{way}-{model.name}")
    for model in MODELS.models.values()
    for way in WAYS
]
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())


def committed(model: Model, way: str) -> list[Request]:
    path = asset(model, way)
    return parse(path.read_text(), path.name)


# The console files.


@pytest.mark.parametrize(("model", "way"), FILES)
def test_a_console_file_is_what_the_templates_and_the_corpus_make(model: Model, way: str) -> None:
    written = asset(model, way).read_text()
    assert written == render(MODELS, model, way, CORPUS), (
        "run `nox -s search -- elasticsearch --write`"
    )


def test_there_is_no_other_console_file() -> None:
    names = {asset(model, way).name for model in MODELS.models.values() for way in WAYS}
    assert {path.name for path in ASSETS.glob("*.console")} == names


@pytest.mark.parametrize(("model", "way"), FILES)
def test_a_console_file_holds_the_corpus_and_asks_for_each_search(model: Model, way: str) -> None:
    requests = committed(model, way)
    bulk = next(request for request in requests if request.is_bulk)
    assert "refresh=true" in bulk.path
    ids = [action["index"]["_id"] for action in bulk.body[::2]]
    assert ids == [document.id for document in CORPUS.documents]
    assert [line["content"] for line in bulk.body[1::2]] == [each.text for each in CORPUS.documents]
    searches = {request.notes["finds"]: request for request in requests if request.notes}
    assert set(searches) == {search.finds for search in CORPUS.searches}
    for search in CORPUS.searches:
        asked = [
            request
            for request in requests
            if request.notes.get("finds") == search.finds and search.text in str(request.body)
        ]
        assert asked, search.text


@pytest.mark.parametrize(("model", "way"), FILES)
def test_everything_that_is_made_is_deleted_first(model: Model, way: str) -> None:
    """So that a file can be sent again: Elasticsearch refuses to make what is there."""
    requests = committed(model, way)
    made = {request.path for request in requests if request.method == "PUT"}
    first = [request.path.partition("?")[0] for request in requests if request.method == "DELETE"]
    assert len(first) == len(made)
    assert set(first) == made
    assert [request.method for request in requests[: len(first)]] == ["DELETE"] * len(first)
    # Deleted without asking, so of a name that nobody else gives.
    assert all(path.rpartition("/")[2].startswith("jina-example-") for path in first)


@pytest.mark.parametrize(("model", "way"), FILES)
def test_endpoints_name_the_size_the_server_and_the_side(model: Model, way: str) -> None:
    for request in committed(model, way):
        if request.method != "PUT" or not request.path.startswith("_inference/"):
            continue
        settings = request.body["service_settings"]
        assert settings["url"].startswith(compose_url(model) + "/")
        assert settings["rate_limit"]["requests_per_minute"] >= 1_000_000
        side = request.path.rpartition("-")[2]
        if way == "classic":
            assert settings["url"].endswith(":8080/v1/embeddings")
            assert settings["dimensions"] == model.dims
        elif way == "custom":
            sent = json.loads(settings["request"].replace("${input}", '["a text"]'))
            assert sent["input_type"] == side
            assert sent["dimensions"] == model.dims
        else:
            assert settings["url"].endswith(f"/{side}/v1/embeddings")
            assert settings["dimensions"] in model.matryoshka
        if way in ("semantic-text", "custom"):
            assert request.body["chunking_settings"] == {"strategy": "none"}


@pytest.mark.parametrize("model", MODELS.models.values(), ids=lambda model: model.name)
def test_each_search_is_of_the_size_of_its_field(model: Model) -> None:
    """The first version searched a field of 768 dimensions with a vector of 32."""
    requests = committed(model, "classic")
    sizes = {
        request.path: request.body["mappings"]["properties"]["content_embedding"]["dims"]
        for request in requests
        if request.method == "PUT" and "mappings" in (request.body or {})
    }
    pipelines = {
        request.path: request.body["settings"]["default_pipeline"]
        for request in requests
        if request.method == "PUT" and "mappings" in (request.body or {})
    }
    assert sorted(sizes.values()) == [32, model.dims]
    assert {f"_ingest/pipeline/{name}" for name in pipelines.values()} == {
        request.path
        for request in requests
        if request.method == "PUT" and request.path.startswith("_ingest/")
    }, "every pipeline is some index's"
    for request in requests:
        if not request.notes:
            continue
        index, knn = request.path.partition("/")[0], request.body["knn"]
        if "query_vector" in knn:
            assert len(knn["query_vector"]) == sizes[index] == 32
            assert math.hypot(*knn["query_vector"]) == 1.0
        else:
            assert sizes[index] == model.dims
            assert knn["query_vector_builder"]["text_embedding"]["model_text"].startswith("Query: ")


def painless_cut(script: str, vector: list[float]) -> list[float]:
    """What the pipelines' script does, run as Python: its loops are read out of the text.

    It shows that the script says the right arithmetic; that Painless compiles it is shown by a
    real Elasticsearch (`pytest -m elasticsearch`).
    """
    lines = [line.strip().rstrip(";") for line in script.strip().splitlines()]
    python, depth = [], 0
    for line in lines:
        if line == "}":
            depth -= 1
            continue
        if loop := re.fullmatch(r"for \(int i = 0; i < (\w+); i\+\+\) \{", line):
            python.append(f"{'  ' * depth}for i in range({loop[1]}):")
            depth += 1
            continue
        untyped = re.sub(r"^(?:int|double|List) ", "", line)
        for java, name in {
            "new ArrayList()": "[]",
            ".add(": ".append(",
            "Math.sqrt": "sqrt",
        }.items():
            untyped = untyped.replace(java, name)
        python.append("  " * depth + untyped)

    class Context:
        content_embedding = vector

    scope: dict[str, Any] = {"ctx": Context, "sqrt": math.sqrt}
    exec("\n".join(python), scope)  # noqa: S102 - the text is this repository's own
    return list(scope["ctx"].content_embedding)


def test_every_cut_is_scaled_to_length_one() -> None:
    """The first version's scripts cut the vector and left it short."""
    vector = np.random.default_rng(0).standard_normal(NANO.dims)
    scripts = re.findall(r'"""(.*?)"""', asset(NANO, "classic").read_text(), re.DOTALL)
    assert len(scripts) == 2, "the documents' and the search's"
    for script in scripts:
        cut = painless_cut(script, [float(number) for number in vector])
        assert cut == pytest.approx(vector[:32] / np.linalg.norm(vector[:32]))


def test_console_files_and_documents_pass_elastics_own_description(
    pytestconfig: pytest.Config,
) -> None:
    """Method, path and body of every request, as Elastic's OpenAPI has them."""
    checker = ROOT.parent / "shared" / "elasticsearch" / "check_es_requests.py"
    need(
        pytestconfig,
        "elasticsearch-openapi",
        available=checker.is_file(),
        why=f"no {checker.name} in the folder shared/elasticsearch beside the checkout",
    )
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    result = subprocess.run(
        [sys.executable, str(checker), "--strict", str(ASSETS), *map(str, documents)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.findall(r"(\d+) requests", result.stdout)[0]) > 100, result.stdout


def test_the_stack_is_the_tools_own_and_on_loopback() -> None:
    assert COMPOSE["name"] == PROJECT
    assert COMPOSE["include"] == ["../compose.yaml"]
    for service in COMPOSE["services"].values():
        assert [port.startswith("127.0.0.1:") for port in service["ports"]] == [True]


def test_the_documentation_names_every_variable_with_its_default() -> None:
    page = (ROOT / "docs" / "elasticsearch.md").read_text()
    variables = set(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE_FILE.read_text()))
    assert len(variables) == 3
    for name, value in variables:
        assert re.search(rf"^\| `{name}` +\| `{value}` +\|", page, re.MULTILINE), name


# Reading them.


def test_bodies_comments_and_long_texts_are_read() -> None:
    text = (
        "# about it\n\nPUT a/b\n{\n"
        '  "source": """\n  one "quoted"\n  two\n"""\n}\n'
        "# search: cats\n# finds: cat\nPOST a/_bulk?refresh=true\n"
        '{"index": {}}\n{"text": "# no comment"}\n\nGET a\n'
    )
    put, bulk, get = parse(text, "x.console")
    assert (put.method, put.path, put.where) == ("PUT", "a/b", "x.console:3")
    assert put.body == {"source": '\n  one "quoted"\n  two\n'}
    assert put.notes == {}
    assert bulk.notes == {"search": "cats", "finds": "cat"}
    assert bulk.body == [{"index": {}}, {"text": "# no comment"}]
    assert get.body is None
    assert get.notes == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}\nGET a", "x:1: text before the first request"),
        ("GET a\n\nPUT b\n{,}", "x:3: the body of PUT b is not JSON"),
        ("POST _bulk\n{}\n{", "x:1: the body of POST _bulk is not JSON"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        parse(text, "x")


# Sending them.


class Library:
    """Answers searches with the document that they must find, unless told of another."""

    def __init__(self, wrong: str | None = None, version: str = "9.5.3") -> None:
        self.vector = [0.6, 0.8]
        self.wrong = wrong
        self.version = version

    def __call__(self, sent: Sent) -> tuple[int, Any]:
        if sent.path == "/":
            return 200, {"version": {"number": self.version}}
        if sent.method == "DELETE" and "ignore_unavailable" not in sent.path:
            return 404, {"error": {"type": "resource_not_found_exception", "reason": "none"}}
        if sent.path.startswith("/_ingest/pipeline/_simulate"):
            source = {"content_embedding": self.vector}
            return 200, {"docs": [{"doc": {"_source": source}}]}
        if sent.path.endswith("_search"):
            finds = self.wrong or next(
                (
                    each.finds
                    for each in CORPUS.searches
                    if each.text in sent.body or each.lexical in sent.body
                ),
                CORPUS.searches[0].finds,
            )
            return 200, {"hits": {"hits": [{"_id": finds, "_score": 0.9}]}}
        return 200, {"acknowledged": True}


def run(
    cluster: RecordingCluster, way: str, api_key: str | None = None, **options: Any
) -> list[Finding]:
    with connect(cluster.url, api_key) as client:
        return run_way(client, MODELS, NANO, CORPUS, way, **options)


@pytest.mark.parametrize("way", WAYS)
def test_every_request_is_sent_as_it_is_written(way: str) -> None:
    with recording_cluster(Library()) as cluster:
        findings = run(cluster, way, api_key="c2VjcmV0")
    requests = committed(NANO, way)
    for sent, request in zip(cluster.sent, requests, strict=True):
        assert (sent.method, sent.path) == (request.method, f"/{request.path}")
        assert sent.authorization == "ApiKey c2VjcmV0"
        if request.is_bulk:
            assert "ndjson" in (sent.content_type or "")
            assert [json.loads(line) for line in sent.body.splitlines()] == request.body
            assert sent.body.endswith("\n")
        elif "query_vector" not in request.notes:
            assert (json.loads(sent.body) if sent.body else None) == request.body
    assert {each.wanted for each in findings} == {each.finds for each in CORPUS.searches}
    assert all(each.right for each in findings)


def test_the_vector_of_the_answer_before_is_searched_for() -> None:
    with recording_cluster(Library()) as cluster:
        run(cluster, "classic")
    assert json.loads(cluster.sent[-1].body)["knn"]["query_vector"] == [0.6, 0.8]


def test_an_answer_without_the_vector_is_named() -> None:
    library = Library()

    def empty(sent: Sent) -> tuple[int, Any]:
        return (200, {"docs": []}) if sent.path.endswith("_simulate") else library(sent)

    with (
        recording_cluster(empty) as cluster,
        pytest.raises(ToolError, match=r"classic-nano.console:\d+: .*holds no vector"),
    ):
        run(cluster, "classic")


def test_another_server_and_the_lexical_wordings_can_be_asked_for() -> None:
    with recording_cluster(Library()) as cluster:
        run(cluster, "semantic-text", server_url="http://there:1/", server_key="k", lexical=True)
    everything = "".join(sent.body for sent in cluster.sent)
    assert "http://there:1/document/v1/embeddings" in everything
    assert "http://nano" not in everything
    assert '"api_key":"k"' in everything
    assert "unused" not in everything
    for search in CORPUS.searches:
        assert json.dumps(search.lexical)[1:-1] in everything
        assert search.text not in everything


def test_a_wrong_document_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        recording_cluster(Library(wrong="ssh-timeout")) as cluster,
        pytest.raises(ToolError, match=r"6 of 6 searches .*'my app keeps getting killed'"),
    ):
        main(["elasticsearch", "nano", "--way", "semantic-text", "--es-url", cluster.url])
    shown = capsys.readouterr().out
    assert "Elasticsearch 9.5.3" in shown
    assert shown.count("ssh-timeout") == shown.count("NO") == 6


def test_a_search_that_finds_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show([Finding("index", "cats", "cat", None, None)], "score")
    assert re.search(r"cats +nothing +- +NO", capsys.readouterr().out)


def test_the_whole_verb_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    with recording_cluster(Library()) as cluster:
        main(["elasticsearch", "small", "--es-url", cluster.url])
    shown = capsys.readouterr().out
    # Three ways of five searches, and one more in classic and in semantic-text.
    assert shown.count("yes") == 3 * 5 + 2
    assert "jina-example-small-classic-32" in shown


@pytest.mark.parametrize(
    ("version", "foreign", "ways"),
    [
        ("8.15.0", False, ["classic", "dense-vector"]),
        ("8.18.8", True, ["classic", "dense-vector"]),
        ("8.19.0", False, [*WAYS]),
        ("9.0.4", True, ["classic", "dense-vector"]),
        ("9.1.0", False, [*WAYS]),
        ("9.5.3", True, ["classic", "semantic-text", "dense-vector"]),
        ("10.0.0", False, [*WAYS]),
    ],
)
def test_only_what_the_cluster_can_do_is_run_unasked(
    version: str, foreign: bool, ways: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert default_ways(Version(version), foreign=foreign) == ways
    shown = capsys.readouterr().out
    assert shown.count("\n") == (1 if len(ways) < len(WAYS) else 0)
    for way in set(WAYS) - {*ways}:
        reason = "needs 8.19 or 9.1" if "semantic-text" not in ways else "`--way custom` runs it"
        assert re.search(rf"{way} \([^)]*{reason}\)", shown)


def test_a_serverless_cluster_has_everything() -> None:
    """Its version number, 8.11, would leave nothing."""
    said = {"version": {"number": "8.11.0", "build_flavor": "serverless"}}
    with recording_cluster(lambda _: (200, said)) as cluster, connect(cluster.url) as client:
        assert default_ways(version(client), foreign=False) == [*WAYS]


def test_a_cluster_that_is_too_old_for_every_way_is_refused() -> None:
    with pytest.raises(ToolError, match=r"8\.14\.3 is too old"):
        default_ways(Version("8.14.3"), foreign=True)


def test_a_version_that_is_not_told_is_said() -> None:
    with (
        recording_cluster() as cluster,
        connect(cluster.url) as client,
        pytest.raises(ToolError, match="does not say its version"),
    ):
        version(client)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_and_the_documentation_say_what_it_needs(way: str) -> None:
    assert f"Elasticsearch {' and '.join(FIRST_RELEASES[way])} on" in re.sub(
        r"\n# ", " ", asset(NANO, way).read_text()
    )
    page = (ROOT / "docs" / "elasticsearch.md").read_text()
    needs = ", ".join(FIRST_RELEASES[way])
    assert re.search(rf"^\| `{way}-nano.console` +\| {needs} +\|", page, re.MULTILINE)


def test_a_way_that_is_asked_for_is_run_in_any_cluster() -> None:
    with recording_cluster(Library()) as cluster:
        main(["elasticsearch", "nano", "--es-url", cluster.url, "--way", "custom"])
    assert any("custom" in sent.path for sent in cluster.sent)


def test_what_was_found_is_shown_before_an_error_ends_the_verb(
    capsys: pytest.CaptureFixture[str],
) -> None:
    library = Library()

    def full(sent: Sent) -> tuple[int, Any]:
        wanted = "semantic" in sent.path and sent.method == "PUT"
        return (429, refusal("rejected execution")) if wanted else library(sent)

    with (
        recording_cluster(full) as cluster,
        pytest.raises(ToolError, match=r"semantic-text-nano.console:\d+: .* was answered 429"),
    ):
        main(["elasticsearch", "nano", "--es-url", cluster.url])
    shown = capsys.readouterr().out
    assert shown.count("yes") == 6
    assert "jina-example-nano-classic-32" in shown


@pytest.mark.parametrize("image", [None, "of-mine:1"])
def test_there_is_an_engine_before_anything_is_fetched(
    image: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a stopped engine would pass for a registry out of reach."""
    done: list[str] = []

    def pull(services: list[str]) -> None:
        done.append("pull")
        raise ToolError("as far as this test goes")

    monkeypatch.setattr(
        "tools.search.elasticsearch.run.ensure_engine", lambda: done.append("engine")
    )
    monkeypatch.setattr("tools.search.elasticsearch.run.pull", pull)
    if image:
        monkeypatch.setenv("JINA_IMAGE", image)
    with pytest.raises(ToolError, match="as far as"):
        main(["elasticsearch", "--weights", "synthetic"])
    assert done == ["engine", "pull"]


# Who may ask, and whom.


def authorizations(cluster: RecordingCluster) -> set[str | None]:
    return {sent.authorization for sent in cluster.sent}


def test_the_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no log of commands shows it."""
    monkeypatch.setenv("ES_API_KEY", "c2VjcmV0")
    with recording_cluster(Library()) as cluster:
        main(["elasticsearch", "--es-url", cluster.url, "--way", "classic"])
    assert authorizations(cluster) == {"ApiKey c2VjcmV0"}


def test_a_key_that_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_API_KEY", "c2VjcmV0")
    with recording_cluster(Library()) as cluster:
        main(
            [
                "elasticsearch",
                "--es-url",
                cluster.url,
                "--way",
                "classic",
                "--api-key",
                "YW5vdGhlcg==",
            ]
        )
    assert authorizations(cluster) == {"ApiKey YW5vdGhlcg=="}


def test_a_password_in_the_address_is_sent_and_never_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ES_API_KEY", raising=False)
    with recording_cluster(Library()) as cluster:
        address = cluster.url.replace("http://", "http://elastic:s3cret@")
        main(["elasticsearch", "--es-url", address, "--way", "classic"])
    assert f"Elasticsearch 9.5.3 at {cluster.url}" in capsys.readouterr().out
    assert authorizations(cluster) == {"Basic ZWxhc3RpYzpzM2NyZXQ="}


@pytest.mark.parametrize("address", ["elastic:s3cret@there", "http://elastic:s3cret@there"])
def test_an_address_that_is_none_is_named_without_its_password(address: str) -> None:
    with pytest.raises(ToolError, match="there") as raised, connect(address) as client:
        send(client, REQUEST)
    assert "s3cret" not in str(raised.value)


@pytest.fixture(scope="module")
def certificate(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts yet, with its key, in PEM."""
    need(
        pytestconfig,
        "openssl",
        available=shutil.which("openssl") is not None,
        why="the command makes a certificate",
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=a test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-days", "1", "-keyout", str(file), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
    )
    return file


def test_a_certificate_that_is_named_is_trusted(certificate: Path) -> None:
    with recording_cluster(Library(), certificate=certificate) as cluster:
        main(
            [
                "elasticsearch",
                "--es-url",
                cluster.url,
                "--way",
                "classic",
                "--ca-certs",
                str(certificate),
            ]
        )
    assert len(cluster.sent) > 10


def test_a_certificate_of_an_unknown_authority_is_said(certificate: Path) -> None:
    with (
        recording_cluster(Library(), certificate=certificate) as cluster,
        pytest.raises(ToolError, match=r"is not trusted: .*--ca-certs FILE") as raised,
    ):
        main(["elasticsearch", "--es-url", cluster.url])
    assert "no Elasticsearch answers" not in str(raised.value)


def test_a_server_without_tls_is_said() -> None:
    with (
        recording_cluster(Library()) as cluster,
        pytest.raises(ToolError, match=r"does not speak TLS; is it http://"),
    ):
        main(["elasticsearch", "--es-url", cluster.url.replace("http:", "https:")])


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.crt"
    if content:
        file.write_text(content)
    with pytest.raises(ToolError, match=r"ca\.crt holds no certificates"):
        main(["elasticsearch", "--es-url", "https://127.0.0.1:9", "--ca-certs", str(file)])


# What goes wrong.

REQUEST = Request("PUT", "_inference/text_embedding/x", {"a": 1}, {}, "file.console:7")
WRAPPED = "Could not complete inference endpoint creation as validation call threw an exception."


def refusal(*reasons: str) -> dict[str, Any]:
    """An error as Elasticsearch nests it, the first reason outermost."""
    error: dict[str, Any] = {}
    for reason in reversed(reasons):
        error = {"type": "status_exception", "reason": reason, "caused_by": error}
    return {"error": {"root_cause": [{"type": "x", "reason": reasons[-1]}], **error}}


FAILURES = {
    "licence": (
        403,
        refusal("current license is non-compliant for [inference]"),
        "_license/start_trial",
    ),
    "another size": (
        400,
        refusal(
            WRAPPED,
            "The retrieved embeddings size [768] does not match the size specified in the "
            "settings [1024]. Please recreate the [x] configuration with the correct dimensions",
        ),
        "768 dimensions where 1024",
    ),
    "no such size": (
        400,
        refusal(
            WRAPPED, "status [400]. Error message: [`dimensions` must be one of 32, 64, not 1024]"
        ),
        "no size 1024, only 32, 64",
    ),
    "unreachable": (
        400,
        refusal(
            WRAPPED,
            "Http client failed to send request from inference entity id [x]",
            "nano: Name or service not known",
        ),
        "--server-url",
    ),
    "unpatched server": (
        400,
        refusal(
            WRAPPED,
            "Resource not found at [http://nano:8080/query/v1/embeddings] for "
            "request from inference entity id [x] status [404].",
        ),
        "nothing answers at http://nano:8080/query",
    ),
    "the server's key": (
        400,
        refusal(
            WRAPPED,
            "Received an authentication error status code for request from "
            "inference entity id [x] status [401]. Error message: [Invalid API Key]",
        ),
        "LLAMA_API_KEY",
    ),
    "wrong key": (401, refusal("unable to authenticate with provided credentials"), "--api-key"),
    "weak key": (
        403,
        refusal("action [cluster:admin/xpack/inference/put] is unauthorized for API key id [k]"),
        "manage_inference",
    ),
    "endpoint in use": (
        409,
        refusal("Inference endpoint x is referenced by pipelines: [p]. Ensure that no pipelines"),
        "something else in this cluster uses",
    ),
    "too old for custom": (400, refusal("Unknown service [custom]"), "8.19 or 9.1"),
    "too old for none": (400, refusal("Invalid chunkingStrategy none"), "8.19 or 9.1"),
    "no such host": (
        400,
        refusal(
            WRAPPED, "Invalid host [http://nano:8080/v1], please check that the URL is correct."
        ),
        "--server-url",
    ),
    "another field": (
        400,
        refusal(
            "The query vector has a different number of dimensions [32] than the document "
            "vectors [768]."
        ),
        "a vector's size is not the field's",
    ),
    "not of length 1": (
        400,
        refusal("The [dot_product] similarity can only be used with unit-length vectors."),
        "must be scaled",
    ),
    "busy": (429, refusal("rejected execution"), "try again later"),
    "unknown": (500, refusal("something new"), "Elasticsearch said: something new"),
    "not even JSON's form": (502, "Bad Gateway", "Bad Gateway"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_refusal_says_what_to_do(name: str) -> None:
    status, body, message = FAILURES[name]
    with (
        recording_cluster(lambda _: (status, body)) as cluster,
        connect(cluster.url) as client,
        pytest.raises(ToolError, match=re.escape(message)) as raised,
    ):
        send(client, REQUEST)
    text = str(raised.value)
    assert text.startswith(f"file.console:7: PUT {REQUEST.path} was answered {status}")
    assert len(cluster.sent) == 1, "a refusal is not asked for again"


@pytest.mark.parametrize(
    "answer",
    [
        {
            "errors": True,
            "items": [
                {"index": {"_id": "a", "status": 201}},
                {"index": {"_id": "b", "error": {"type": "x", "reason": "no vector came"}}},
            ],
        },
        {"failures": [{"index": "a", "cause": {"type": "x", "reason": "no vector came"}}]},
        {"docs": [{"error": {"type": "x", "reason": "no vector came"}}]},
    ],
    ids=["bulk", "reindex", "simulate"],
)
def test_a_failure_inside_an_answer_of_200_is_one(answer: dict[str, Any]) -> None:
    with (
        recording_cluster(lambda _: (200, answer)) as cluster,
        connect(cluster.url) as client,
        pytest.raises(ToolError, match="no vector came"),
    ):
        send(client, REQUEST)


def test_only_a_delete_may_find_nothing() -> None:
    missing = refusal("no such index [x]")
    with recording_cluster(lambda _: (404, missing)) as cluster, connect(cluster.url) as client:
        assert send(client, Request("DELETE", "x", None, {}, "f:1")) == {}
        with pytest.raises(ToolError, match="no such index"):
            send(client, Request("POST", "x/_search", {}, {}, "f:2"))


def test_nobody_is_named() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with (
        connect(url) as client,
        pytest.raises(ToolError, match=f"no Elasticsearch answers at {re.escape(url)}"),
    ):
        send(client, REQUEST)


@pytest.mark.parametrize("status", [200, 404])
def test_somebody_else_is_named(status: int) -> None:
    with (
        recording_cluster(lambda _: (status, {}), named=False) as cluster,
        connect(cluster.url) as client,
        pytest.raises(ToolError, match="it is not Elasticsearch"),
    ):
        send(client, REQUEST)


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(ToolError, match=r"elastic\.example is not an address"):
        connect("elastic.example").__enter__()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key", "k"],
        ["--ca-certs", "x.crt"],
        ["--server-url", "http://x"],
        ["--es-url", "http://x", "--kibana"],
        ["--es-url", "http://x", "--keep"],
        ["--kibana"],
    ],
)
def test_options_that_do_not_belong_together_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["elasticsearch", *arguments])
    assert ended.value.code == 2
