"""Pins are looked up on servers of this machine, and the fact files are rewritten whole."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from huggingface_hub import constants

from tests.support.file_server import Answer, FileServer, closed_port, file_server, isolate
from tests.support.git_server import git
from tests.support.origins import first_of
from tools.chart.facts import FILE as CHART_FACTS
from tools.common.cache import cache_dir
from tools.common.errors import ToolError
from tools.facts.images import (
    FROM_REGISTRY,
    CudaImages,
    GitOrigin,
    ImageOrigin,
    SdistOrigin,
    load_images,
)
from tools.facts.models import FROM_HUB, Model, load_models
from tools.facts.paths import IMAGES_FILE, MODELS_FILE, MONITORING_COMPOSE_FILE, ROOT
from tools.origins.pins import changes, refresh
from tools.registry.client import Registry, newest_digest, parse_reference
from tools.registry.manifests import INDEX

IMAGES, MODELS = load_images(), load_models()
FORK = first_of(GitOrigin, IMAGES.llama_cpp)
SDIST = first_of(SdistOrigin, IMAGES.llama_cpp)
MANIFEST = b'{"schemaVersion": 2, "manifests": []}'
MANIFEST_DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
NEW_REVISION = "7" * 40
#: Of the variants that the catalogue has none of yet.
REVISION = "8" * 40
NEW_COMMIT = "8" * 40
JSON = {"Content-Type": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """A Hub, a package index and a registry that all agree with the pins."""
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr("tools.origins.sdist.pip_config_listing", str)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with file_server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("PIP_INDEX_URL", f"{running.url}/simple")
        put_release(running, SDIST.version)
        for model in every_model():
            put_files(running, model, REVISION if model.revision == FROM_HUB else model.revision)
        yield running


@dataclass(frozen=True)
class Facts:
    """Copies of the fact files that point to this machine's servers only."""

    images: Path
    models: Path
    repository: Path

    def refresh(self, *, check: bool = False) -> None:
        refresh(self.images, self.models, check=check)

    @property
    def texts(self) -> tuple[str, str]:
        return self.images.read_text(), self.models.read_text()

    def edit(self, old: str, new: str) -> None:
        """Replace a text that is in one of the files."""
        (path,) = (path for path in (self.images, self.models) if old in path.read_text())
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def facts(server: FileServer, tmp_path: Path) -> Facts:
    """Facts that are all the newest."""
    repository = tmp_path / "llama.cpp"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch", FORK.branch)
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "one")
    found = Facts(tmp_path / "images.toml", tmp_path / "models.toml", repository)
    images = IMAGES_FILE.read_text()
    images = images.replace(FORK.repository, str(repository))
    images = images.replace(FORK.commit, git(repository, "rev-parse", "HEAD"))
    cuda = [
        image
        for each in IMAGES.cuda
        if isinstance(each, CudaImages)
        for image in (each.devel, each.runtime)
    ]
    bases = [each for each in IMAGES.base if isinstance(each, ImageOrigin)]
    for image in [*bases, *cuda, *IMAGES.monitoring]:
        put_manifest(server, image.reference)
        images = images.replace(
            image.reference, f"127.0.0.1:{server.server_port}/{image.reference}"
        )
        images = images.replace(image.digest, MANIFEST_DIGEST)
    found.images.write_text(images)
    found.models.write_text(known_files())
    return found


def known_files() -> str:
    """Return models.toml with a size and a hash for every file, as put_revision serves them."""
    text = MODELS_FILE.read_text()
    text = text.replace(f'revision = "{FROM_HUB}"', f'revision = "{REVISION}"')
    for model in every_model():
        for file in model.files.values():
            stated = f'name = "{file.name}"\nbytes = "from-hub"\nsha256 = "from-hub"'
            known = f'name = "{file.name}"\nbytes = 1000\nsha256 = "{"a" * 64}"'
            text = text.replace(stated, known)
    return text


def every_model() -> list[Model]:
    """The models of the catalogue, and their variants for other tasks."""
    return [each for model in MODELS.models.values() for each in (model, *model.variants.values())]


def put_revision(server: FileServer, model: str, revision: str, *, missing: str = "") -> None:
    """Let the Hub have a model's files at a revision."""
    put_files(server, MODELS.models[model], revision, missing=missing)


def put_files(server: FileServer, known: Model, revision: str, *, missing: str = "") -> None:
    """Let the Hub have these files at a revision, with the catalogue's hashes if it has any."""
    siblings: list[object] = [{"rfilename": "README.md", "size": 3, "blobId": "0" * 40}]
    for file in known.files.values():
        if file.name != missing:
            lfs = {"sha256": "a" * 64, "size": 1000}
            if file.bytes:
                lfs = {"sha256": file.sha256, "size": file.bytes}
            siblings.append({"rfilename": file.name, "size": lfs["size"], "lfs": lfs})
    answer = {"sha": revision, "siblings": siblings}
    server.put(f"/api/models/{known.repository}", Answer(json.dumps(answer).encode()))


def put_manifest(server: FileServer, reference: str, *answers: Answer) -> None:
    repository, _, tag = reference.partition(":")
    server.put(f"/v2/{repository}/manifests/{tag}", *(answers or (manifest_answer(MANIFEST),)))


def manifest_answer(content: bytes) -> Answer:
    return Answer(content, headers={"Content-Type": INDEX})


def put_release(server: FileServer, version: str, head: str | None = NEW_COMMIT) -> bytes:
    """Let the index have releases up to ``version``, and return its archive."""
    stem = f"{SDIST.project.replace('-', '_')}-{version}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (
            ("README.md", "text"),
            (f".git/modules/{SDIST.folder}/HEAD", head),
        ):
            if content is not None:
                member = tarfile.TarInfo(f"{stem}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
    archive = buffer.getvalue()
    files = [
        {
            "filename": f"{stem}.tar.gz",
            "url": f"/files/{stem}.tar.gz",
            "hashes": {"sha256": hashlib.sha256(archive).hexdigest()},
            "size": len(archive),
        },
        # Neither a release that was taken back, nor a candidate, nor an older one is the newest.
        {"filename": "llama_cpp_python-99.0.tar.gz", "url": "/no", "hashes": {}, "yanked": "bad"},
        {"filename": "llama_cpp_python-98.0rc1.tar.gz", "url": "/no", "hashes": {}},
        {"filename": "llama_cpp_python-0.3.9.tar.gz", "url": "/no", "hashes": {}},
    ]
    page = {"meta": {"api-version": "1.1"}, "name": SDIST.project, "files": files}
    server.put(f"/simple/{SDIST.project}/", Answer(json.dumps(page).encode(), headers=JSON))
    server.put(f"/files/{stem}.tar.gz", Answer(archive))
    return archive


def test_nothing_new_leaves_both_files_byte_for_byte(
    facts: Facts, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    before = facts.texts
    facts.refresh()
    facts.refresh(check=True)
    assert facts.texts == before
    assert capsys.readouterr().out.count("every pin is the newest") == 2
    assert not any("/files/" in request for request in server.requests)


def test_a_new_commit_is_the_only_line_that_changes(facts: Facts) -> None:
    images, models = facts.texts
    pinned = git(facts.repository, "rev-parse", "HEAD")
    git(facts.repository, "commit", "--quiet", "--allow-empty", "--message", "two")
    facts.refresh()
    newest = git(facts.repository, "rev-parse", "HEAD")
    assert facts.texts == (images.replace(pinned, newest), models)
    origin = load_images(facts.images).llama_cpp[0]
    assert isinstance(origin, GitOrigin)
    assert origin.commit == newest


def test_a_new_base_is_pinned_by_the_hash_of_what_the_registry_gives(
    facts: Facts, server: FileServer
) -> None:
    base = first_of(ImageOrigin, IMAGES.base)
    put_manifest(server, base.reference, manifest_answer(b"{}"))
    images, models = facts.texts
    facts.refresh()
    new = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert first_of(ImageOrigin, load_images(facts.images).base).digest == new
    assert facts.texts == (facts.texts[0], models)
    lines = zip(images.splitlines(), facts.texts[0].splitlines(), strict=True)
    assert len([old for old, new in lines if old != new]) == 1


def test_a_digest_that_only_the_registry_knows_is_asked_for(facts: Facts) -> None:
    pinned = facts.texts
    name = IMAGES.monitoring[0].name
    text = facts.images.read_text()
    start = text.index(f'name = "{name}"')
    unknown = text[start:].replace(MANIFEST_DIGEST, FROM_REGISTRY, 1)
    facts.images.write_text(text[:start] + unknown)
    assert load_images(facts.images).monitoring[0].digest == FROM_REGISTRY
    with pytest.raises(ToolError, match="1 facts are old"):
        facts.refresh(check=True)
    facts.refresh()
    assert facts.texts == pinned


def test_a_new_source_distribution_says_which_llama_cpp_it_holds(
    facts: Facts, server: FileServer
) -> None:
    archive = put_release(server, "9.10.2")
    images, _ = facts.texts
    facts.refresh()
    _, mainline, first, *held = load_images(facts.images).llama_cpp
    assert mainline.commit == NEW_COMMIT, "the same by git goes with it"
    assert isinstance(first, SdistOrigin)
    assert first.name == "pypi-9.10.2"
    assert first.version == "9.10.2"
    assert first.commit == NEW_COMMIT
    assert first.bytes == len(archive)
    assert first.sha256 == hashlib.sha256(archive).hexdigest()
    assert held == list(load_images().llama_cpp[3:])
    assert "# Mainline, as carried in the source distribution" in facts.texts[0]
    assert len(facts.texts[0].splitlines()) == len(images.splitlines())
    assert list((cache_dir() / "downloads").iterdir()) == []


def test_a_source_distribution_without_its_commit_is_left_out_loudly(
    facts: Facts, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    put_release(server, "9.10.2", head=None)
    before = facts.texts
    facts.refresh()
    assert facts.texts == before
    assert "does not say which commit of vendor/llama.cpp" in capsys.readouterr().err


def test_an_index_that_lags_behind_does_not_lower_the_pin(facts: Facts, server: FileServer) -> None:
    put_release(server, "0.3.10")
    before = facts.texts
    facts.refresh()
    assert facts.texts == before


def test_a_new_revision_brings_the_hashes_that_were_not_known(
    facts: Facts, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    facts.models.write_text(MODELS_FILE.read_text())
    put_revision(server, "nano", NEW_REVISION)
    facts.refresh()
    nano = load_models(facts.models).models["nano"]
    assert nano.revision == NEW_REVISION
    assert nano.files["F16"].sha256 == "a" * 64
    assert nano.files["F16"].bytes == 1000
    assert nano.files["Q8_0"] == MODELS.models["nano"].files["Q8_0"]
    old, new = MODELS_FILE.read_text(), facts.texts[1]
    assert [line for line in old.splitlines() if line.startswith("#")] == [
        line for line in new.splitlines() if line.startswith("#")
    ]
    # The columns are aligned under their header.
    header, *rows = [line for line in capsys.readouterr().out.splitlines() if "looking" not in line]
    column = header.index("newest")
    assert rows[0][column:] == f"{NEW_REVISION[:19]}..."
    assert rows[0].startswith("models.toml: models.nano.revision  ")


def test_check_fails_and_writes_nothing(facts: Facts, server: FileServer) -> None:
    put_revision(server, "small", NEW_REVISION)
    before = facts.texts
    with pytest.raises(ToolError, match="1 facts are old; `nox -s pins`"):
        facts.refresh(check=True)
    assert facts.texts == before


@pytest.mark.parametrize("what", ["git", "registry", "index", "hub"])
def test_a_host_that_does_not_answer_is_named_and_nothing_is_written(
    facts: Facts, server: FileServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    put_release(server, "9.10.2")
    git(facts.repository, "commit", "--quiet", "--allow-empty", "--message", "two")
    gone = f"127.0.0.1:{closed_port()}"
    if what == "git":
        facts.edit(str(facts.repository), f"http://{gone}/llama.cpp")
    elif what == "registry":
        facts.edit(f"127.0.0.1:{server.server_port}/", f"{gone}/")
    elif what == "index":
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{gone}/simple")
    else:
        monkeypatch.setenv("HF_ENDPOINT", f"http://{gone}")
    before = facts.texts
    with pytest.raises(ToolError) as caught:
        facts.refresh()
    assert gone.partition(":")[0] in str(caught.value)
    assert str(caught.value).endswith("No pin was changed")
    assert facts.texts == before


def test_a_branch_that_is_gone_is_named(facts: Facts) -> None:
    git(facts.repository, "branch", "--move", "renamed")
    with pytest.raises(ToolError, match=f"has no branch {FORK.branch}"):
        facts.refresh()


def test_a_file_that_a_new_revision_lacks_is_named(facts: Facts, server: FileServer) -> None:
    name = MODELS.models["nano"].files["Q8_0"].name
    put_revision(server, "nano", NEW_REVISION, missing=name)
    with pytest.raises(ToolError, match=f"has no {name} at its newest revision 7777"):
        facts.refresh()


def with_unpinned_variant(facts: Facts) -> Model:
    """Facts in which a variant has no revision yet; that variant."""
    variant = MODELS.models["nano"].for_task("clustering")
    table = f'repository = "{variant.repository}"\nrevision = '
    pinned = REVISION if variant.revision == FROM_HUB else variant.revision
    facts.edit(f'{table}"{pinned}"', f'{table}"{FROM_HUB}"')
    return variant


def test_a_variant_that_was_never_looked_up_is_filled_in(facts: Facts, server: FileServer) -> None:
    variant = with_unpinned_variant(facts)
    put_files(server, variant, NEW_REVISION)
    facts.refresh()
    found = load_models(facts.models).models["nano"].for_task("clustering")
    assert found.is_pinned
    assert found.revision == NEW_REVISION
    assert found.files["Q8_0"].bytes


@pytest.mark.parametrize("has", ["no repository", "another file"])
def test_a_variant_that_cannot_be_looked_up_is_named_and_stops_no_other_pin(
    facts: Facts, server: FileServer, capsys: pytest.CaptureFixture[str], has: str
) -> None:
    """Its row was written without looking, so it may be wrong; nobody serves it yet."""
    variant = with_unpinned_variant(facts)
    if has == "no repository":
        server.put(f"/api/models/{variant.repository}", Answer(status=401))
    else:
        put_files(server, variant, NEW_REVISION, missing=variant.files["Q8_0"].name)
    put_revision(server, "small", NEW_REVISION)
    facts.refresh()
    models = load_models(facts.models).models
    assert not models["nano"].for_task("clustering").is_pinned
    assert models["small"].revision == NEW_REVISION
    assert f"{variant.repository} stays without a revision" in capsys.readouterr().out


def test_a_variant_that_was_pinned_must_be_there(facts: Facts, server: FileServer) -> None:
    variant = MODELS.models["nano"].for_task("clustering")
    server.put(f"/api/models/{variant.repository}", Answer(status=404))
    with pytest.raises(ToolError, match="404"):
        facts.refresh()


@pytest.mark.parametrize("said", [b"<html>", b"[]", b'{"sha": "7", "siblings": null}'])
def test_a_hub_that_says_something_else_is_refused(
    facts: Facts, server: FileServer, said: bytes
) -> None:
    server.put(f"/api/models/{MODELS.models['nano'].repository}", Answer(said))
    with pytest.raises(ToolError, match="does not list the files of"):
        facts.refresh()


def test_what_would_not_load_is_not_written(facts: Facts, server: FileServer) -> None:
    put_revision(server, "nano", "not-a-commit")
    before = facts.texts
    with pytest.raises(ToolError, match=r"models\.toml: models\.nano\.revision: "):
        facts.refresh()
    assert facts.texts == before
    assert not list(facts.models.parent.glob(".pins-*"))


def test_changes_are_named_by_file_and_key() -> None:
    (change,) = changes("images.toml", "[[a]]\nb = [1]\n", "[[a]]\nb = [2]\n")
    assert (change.where, change.pinned, change.newest) == ("images.toml: a[0].b", [1], [2])


def test_no_pin_is_stated_anywhere_else() -> None:
    """A weekly update of the fact files must leave everything else true.

    The pages of benchmarks stay true: they say what was measured then. The copies for the Helm
    chart and for compose are written with the fact files.
    """
    pins = {model.revision for model in every_model() if model.is_pinned}
    pins |= {FORK.commit, SDIST.commit, SDIST.sha256}
    pins |= set(re.findall("sha256:[0-9a-f]{64}", IMAGES_FILE.read_text()))
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    measured = (ROOT / "docs" / "measured").glob("benchmarks*.md")
    may = {IMAGES_FILE, MODELS_FILE, CHART_FACTS, MONITORING_COMPOSE_FILE, *measured}
    others = {ROOT / name for name in listed.split("\0") if name} - may
    for path in others:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        assert not [pin for pin in pins if pin in text], path


# ------------------------------------------------------------------ registries


def registry_of(server: FileServer) -> str:
    return f"127.0.0.1:{server.server_port}"


def test_a_registry_that_wants_a_token_is_given_an_anonymous_one(server: FileServer) -> None:
    challenge = (
        f'Bearer realm="{server.url}/token",service="registry.test",scope="repository:a/b:pull"'
    )
    refusal = Answer(status=401, headers={"WWW-Authenticate": challenge})
    put_manifest(server, "a/b:1", refusal, manifest_answer(MANIFEST))
    server.put("/token", Answer(b'{"token": "anybody"}'))
    assert newest_digest(f"{registry_of(server)}/a/b:1") == MANIFEST_DIGEST
    asked, token, again = server.requests[-3:]
    assert asked == again == "GET /v2/a/b/manifests/1"
    assert "service=registry.test" in token
    assert "scope=repository" in token
    assert server.tokens[-3:] == [None, None, "Bearer anybody"]


@pytest.mark.parametrize(
    ("challenge", "token"),
    [("Basic realm=x", b""), ("", b""), ('Bearer realm="{url}/token"', b"{}")],
)
def test_a_registry_that_wants_an_account_is_named(
    server: FileServer, challenge: str, token: bytes
) -> None:
    header = {"WWW-Authenticate": challenge.format(url=server.url)}
    put_manifest(server, "a:1", Answer(status=401, headers=header))
    server.put("/token", Answer(token))
    with pytest.raises(ToolError, match=r"127\.0\.0\.1:\d+ does not let you read a \(HTTP 401\)"):
        newest_digest(f"{registry_of(server)}/a:1")


@pytest.mark.parametrize("form", ["text/html; charset=utf-8", None])
def test_a_page_instead_of_a_manifest_is_not_pinned(
    facts: Facts, server: FileServer, form: str | None
) -> None:
    base = first_of(ImageOrigin, IMAGES.base)
    headers = {"Content-Type": form} if form else {}
    put_manifest(server, base.reference, Answer(b"<html>", headers=headers))
    before = facts.texts
    with pytest.raises(ToolError, match=rf"127\.0\.0\.1:\d+ is no registry.*{base.reference}"):
        facts.refresh()
    assert facts.texts == before


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        (
            "debian:trixie-slim",
            "https://registry-1.docker.io/v2/library/debian/manifests/trixie-slim",
        ),
        ("nvidia/cuda:12", "https://registry-1.docker.io/v2/nvidia/cuda/manifests/12"),
        ("ghcr.io/a/b/c", "https://ghcr.io/v2/a/b/c/manifests/latest"),
        ("host:5000/a:1", "https://host:5000/v2/a/manifests/1"),
        ("localhost/a:1", "http://localhost/v2/a/manifests/1"),
        ("127.0.0.1:5000/a:1", "http://127.0.0.1:5000/v2/a/manifests/1"),
    ],
)
def test_a_reference_means_what_docker_takes_it_for(reference: str, asked: str) -> None:
    repository, tag = parse_reference(reference)
    with httpx.Client() as http:
        assert f"{Registry(http, repository).url}/manifests/{tag}" == asked
