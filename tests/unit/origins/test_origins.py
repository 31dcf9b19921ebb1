from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from tests.support.file_server import Answer, FileServer, closed_port, file_server, isolate
from tests.support.git_server import git
from tools.common.cache import cache_dir
from tools.common.errors import SourceFault, ToolError
from tools.common.web import Refused, Unreachable
from tools.facts.images import (
    BootstrapOrigin,
    GitOrigin,
    ImageOrigin,
    Images,
    SdistOrigin,
    SourceOrigin,
    load_images,
)
from tools.origins import bootstrap
from tools.origins import pull as registry_base
from tools.origins.bootstrap import bootstrap_failure, source_lines
from tools.origins.choose import (
    Choice,
    add_origin_argument,
    choose,
    naming_origin,
    resolve_base,
    resolve_source,
)
from tools.origins.git import fetch_git, git_failure
from tools.origins.pull import pull_failure
from tools.origins.sdist import (
    fetch_sdist,
    parse_pip_config,
    pip_config_listing,
    pip_indexes,
    pip_settings,
)
from tools.origins.trees import unpack

IMAGES = load_images()
AUTO = Choice()
FIRST_ONLY = Choice(first_only=True)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)
    # Asking pip takes a second; one test below does.
    monkeypatch.setattr("tools.origins.sdist.pip_config_listing", str)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def files_in(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())


# ------------------------------------------------------------------ --origin


def test_the_default_is_auto() -> None:
    assert choose([]) == choose(["auto"]) == AUTO


def test_first_only_and_names_are_taken() -> None:
    assert choose(["first-only"]) == FIRST_ONLY
    assert choose(["pypi-0.3.21", "debian-archive"]).names == ("pypi-0.3.21", "debian-archive")


def test_an_unknown_origin_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ToolError, match=r"pypi: .*fork.*pypi-0\.3\.36.*debian-archive"):
        choose(["pypi"])


def test_two_origins_of_one_input_are_refused() -> None:
    with pytest.raises(ToolError, match=r"fork and pypi-0\.3\.21 are origins of one"):
        choose(["fork", "pypi-0.3.21"])


def test_the_argument_may_be_repeated() -> None:
    parser = argparse.ArgumentParser()
    add_origin_argument(parser)
    assert parser.parse_args([]).origin == []
    assert parser.parse_args(["--origin", "fork", "--origin", "registry"]).origin == [
        "fork",
        "registry",
    ]


# ------------------------------------------------------------------ one that does not build


def test_a_source_that_does_not_build_is_named_with_the_command_for_the_next() -> None:
    fork, following = IMAGES.llama_cpp[:2]
    with (
        pytest.raises(SourceFault) as fault,
        naming_origin(fork, "nox -s build -- cpu"),
    ):
        raise SourceFault("0001-x.patch does not apply")
    assert str(fault.value).startswith("0001-x.patch does not apply\n")
    for word in ("origin fork", fork.repository, fork.commit[:12]):
        assert word in str(fault.value)
    assert f"`nox -s build -- cpu --origin {following.name}`" in str(fault.value)


def test_the_last_source_has_no_next_and_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(SourceFault) as fault, naming_origin(IMAGES.llama_cpp[-1], "build"):
        raise SourceFault("it does not link")
    assert "next origin" not in str(fault.value)
    with pytest.raises(ToolError, match=r"^no disk$"), naming_origin(IMAGES.llama_cpp[0], "build"):
        raise ToolError("no disk")


# ------------------------------------------------------------------ git


@pytest.fixture
def repository(tmp_path: Path) -> GitOrigin:
    """Return an origin whose repository is a folder of this machine."""
    folder = tmp_path / "llama.cpp"
    (folder / "src").mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "CMakeLists.txt").write_text("project(llama)\n")
    (folder / "src" / "build.sh").write_text("#!/bin/sh\n")
    (folder / "src" / "build.sh").chmod(0o755)
    (folder / "docs" / "guide.md").write_text("guide\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "the pinned one")
    commit = git(folder, "rev-parse", "HEAD")
    git(folder, "commit", "--quiet", "--message", "a later one", "--allow-empty")
    # As on GitHub, any commit may be asked for, not only the tips of branches.
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return GitOrigin("fork", True, folder.as_uri(), commit, "main")


def test_git_brings_the_tree_of_the_commit(repository: GitOrigin) -> None:
    tree = fetch_git(repository)

    assert files_in(tree) == ["CMakeLists.txt", "src/build.sh"]
    assert os.access(tree / "src" / "build.sh", os.X_OK)
    assert tree.is_relative_to(cache_dir())
    assert [path.name for path in tree.parent.iterdir()] == [repository.commit]


def test_git_is_asked_only_once(repository: GitOrigin) -> None:
    tree = fetch_git(repository)
    assert fetch_git(replace(repository, repository="file:///nowhere")) == tree


def test_git_is_not_misled_by_a_surrounding_git_command(
    repository: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert files_in(fetch_git(repository)) == ["CMakeLists.txt", "src/build.sh"]


def test_a_missing_commit_is_a_refusal(repository: GitOrigin) -> None:
    with pytest.raises(ToolError, match="not our ref") as caught:
        fetch_git(replace(repository, commit="49bfddeca18e62fa3d39114a23e9fcbdf8a22388"))
    assert not isinstance(caught.value, Unreachable)
    assert list((cache_dir() / "sources").iterdir()) == []


def test_a_missing_repository_is_a_refusal(repository: GitOrigin, server: FileServer) -> None:
    for address in ("file:///nowhere", f"{server.url}/nobody/llama.cpp"):
        with pytest.raises(ToolError, match="does not give commit") as caught:
            fetch_git(replace(repository, repository=address))
        assert not isinstance(caught.value, Unreachable)


def test_a_git_server_that_does_not_answer_is_unreachable(repository: GitOrigin) -> None:
    port = closed_port()
    # Newer versions of curl, which git uses, write the port behind a colon.
    with pytest.raises(Unreachable, match=rf"Failed to connect to 127\.0\.0\.1(:| port ){port}"):
        fetch_git(replace(repository, repository=f"http://127.0.0.1:{port}/llama.cpp"))


def test_a_busy_git_server_is_unreachable(repository: GitOrigin, server: FileServer) -> None:
    server.put("/llama.cpp/info/refs", Answer(status=503))
    with pytest.raises(Unreachable, match="503"):
        fetch_git(replace(repository, repository=f"{server.url}/llama.cpp"))


def test_a_machine_without_git_is_told(
    repository: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match="there is no git command"):
        fetch_git(repository)


UNABLE = "fatal: unable to access 'https://github.com/jina-ai/llama.cpp/': "


@pytest.mark.parametrize(
    "said",
    [
        f"{UNABLE}Could not resolve host: github.com",
        f"{UNABLE}Failed to connect to github.com port 443 after 130011 ms: Couldn't connect",
        f"{UNABLE}server certificate verification failed. CAfile: none CRLfile: none",
        f"{UNABLE}SSL: certificate subject name (proxy) does not match target host name",
        f"{UNABLE}Received HTTP code 403 from proxy after CONNECT",
        f"{UNABLE}CONNECT tunnel failed, response 403",
        f"{UNABLE}The requested URL returned error: 503",
        f"{UNABLE}The requested URL returned error: 429",
        f"{UNABLE}Operation too slow. Less than 1000 bytes/sec transferred the last 30 seconds",
        "error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: early EOF",
        "fatal: the remote end hung up unexpectedly",
    ],
)
def test_what_git_says_when_nobody_answers(said: str, repository: GitOrigin) -> None:
    assert isinstance(git_failure(said, repository), Unreachable)


@pytest.mark.parametrize(
    "said",
    [
        "remote: Repository not found.\nfatal: repository 'https://github.com/jina-ai/tls.git/' "
        "not found",
        f"{UNABLE}The requested URL returned error: 403",
        "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
        "fatal: remote error: upload-pack: not our ref 49bfddeca18e62fa3d39114a23e9fcbdf8a22388",
        # Something answers that is no git server, or only begins as one does.
        "fatal: https://tls.example/llama.cpp/info/refs not valid: is this a git repository?",
        f"{UNABLE}Received HTTP/0.9 when not allowed",
        "error: RPC failed; curl 1 Received HTTP/0.9 when not allowed\n"
        "fatal: the remote end hung up unexpectedly",
        "error: RPC failed; HTTP 404 curl 22 The requested URL returned error: 404\n"
        "fatal: the remote end hung up unexpectedly",
        "fatal: protocol error: bad line length character: <htm\n"
        "fatal: the remote end hung up unexpectedly",
        # The server's own words may be any.
        "remote: Connection refused, 503, SSL\n"
        "fatal: repository 'https://github.com/jina-ai/llama.cpp/' not found",
        "fatal: '/nowhere' does not appear to be a git repository\n"
        "fatal: Could not read from remote repository.",
        "",
    ],
)
def test_what_git_says_when_it_is_refused(said: str, repository: GitOrigin) -> None:
    assert not isinstance(git_failure(said, repository), Unreachable)


def test_of_what_git_says_the_reason_is_shown(repository: GitOrigin) -> None:
    said = (
        "error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403\n"
        "fatal: the remote end hung up unexpectedly"
    )
    assert str(git_failure(said, repository)).endswith("The requested URL returned error: 403")


# ------------------------------------------------------------------ archives


def archive(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE
            member.linkname = target
            tar.addfile(member)
    return buffer.getvalue()


def test_only_the_folder_is_unpacked(tmp_path: Path) -> None:
    files = {
        "p-1/README.md": b"",
        "p-1/vendor/llama.cpp/CMakeLists.txt": b"project()",
        "p-1/vendor/llama.cpp/src/models/bert.cpp": b"",
        "p-1/vendor/llama.cpp/models/vocabulary.gguf": b"",
        "p-1/vendor/llama.cpp-other/file": b"",
    }
    links = {"p-1/vendor/llama.cpp/src/link": "../CMakeLists.txt"}

    tree = unpack(io.BytesIO(archive(files, links)), "p-1/vendor/llama.cpp", tmp_path / "tree")

    assert files_in(tree) == ["CMakeLists.txt", "src/link", "src/models/bert.cpp"]
    assert (tree / "src" / "link").read_bytes() == b"project()"


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"top/../../outside": b""}, {}),
        ({"top/CMakeLists.txt": b""}, {"top/link": "/etc/passwd"}),
        ({"top/CMakeLists.txt": b""}, {"top/src/link": "../../outside"}),
    ],
)
def test_nothing_is_unpacked_outside(
    tmp_path: Path, files: Mapping[str, bytes], links: Mapping[str, str]
) -> None:
    with pytest.raises(ToolError, match="no file inside it"):
        unpack(io.BytesIO(archive(files, links)), "top", tmp_path / "trees" / "tree")
    assert list((tmp_path / "trees").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [archive({"top/other": b""}), archive({"top/CMakeLists.txt": bytes(99999)})[:60], b"no tar"],
    ids=["another-tree", "cut-off", "no-tar"],
)
def test_a_tree_that_is_not_complete_does_not_appear(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ToolError):
        unpack(io.BytesIO(content), "top", tmp_path / "trees" / "tree")
    assert list((tmp_path / "trees").iterdir()) == []


# ------------------------------------------------------------------ source distributions

SDIST = archive({"llama_cpp_python-1.0/vendor/llama.cpp/CMakeLists.txt": b"project()"})
SDIST_NAME = "llama_cpp_python-1.0.tar.gz"


@pytest.fixture
def sdist() -> SdistOrigin:
    return SdistOrigin(
        name="pypi-1.0",
        auto=True,
        repository="https://example.org/llama.cpp",
        commit="0c1e57098",
        project="llama-cpp-python",
        version="1.0",
        bytes=len(SDIST),
        sha256=hashlib.sha256(SDIST).hexdigest(),
        folder="vendor/llama.cpp",
    )


def html_page(server: FileServer, index: str = "/simple", name: str = SDIST_NAME) -> str:
    """Serve an index in HTML whose project has one file, and return the index's address."""
    page = f'<html><body><a href="../../files/{name}">{name}</a></body></html>'
    server.put(
        f"{index}/llama-cpp-python/", Answer(page.encode(), headers={"Content-Type": "text/html"})
    )
    return server.url + index


def json_page(server: FileServer) -> str:
    """Serve an index in JSON (PEP 691) that also claims a hash of its own."""
    file = {"filename": SDIST_NAME, "url": f"/files/{SDIST_NAME}", "hashes": {"sha256": "0" * 64}}
    page = {"meta": {"api-version": "1.0"}, "name": "llama-cpp-python", "files": [file]}
    content_type = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
    server.put("/simple/llama-cpp-python/", Answer(json.dumps(page).encode(), headers=content_type))
    return f"{server.url}/simple/"


@pytest.mark.parametrize("serve_page", [html_page, json_page])
def test_the_source_comes_from_the_index_that_pip_is_set_to(
    server: FileServer,
    sdist: SdistOrigin,
    monkeypatch: pytest.MonkeyPatch,
    serve_page: Callable[[FileServer], str],
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", serve_page(server))
    server.put(f"/files/{SDIST_NAME}", Answer(SDIST))

    tree = fetch_sdist(sdist)

    assert files_in(tree) == ["CMakeLists.txt"]
    asked = len(server.requests)
    assert fetch_sdist(sdist) == tree
    assert len(server.requests) == asked
    assert list((cache_dir() / "downloads").iterdir()) == []


def test_the_credentials_of_the_index_go_to_its_files(
    server: FileServer, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", html_page(server).replace("//", "//me:secret@"))
    server.put(f"/files/{SDIST_NAME}", Answer(SDIST))

    fetch_sdist(sdist)

    assert len(set(server.tokens)) == 1
    assert server.tokens[0] is not None


def test_other_bytes_than_the_pinned_ones_are_refused(
    server: FileServer, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", html_page(server))
    server.put(f"/files/{SDIST_NAME}", Answer(bytes(len(SDIST))))

    with pytest.raises(ToolError, match=f"sha256 expected {sdist.sha256}, found ") as caught:
        fetch_sdist(sdist)

    assert not isinstance(caught.value, Unreachable)
    assert list((cache_dir() / "downloads").iterdir()) == []
    assert not (cache_dir() / "sources").exists()


def test_a_second_index_is_asked_when_the_first_lacks_it(
    server: FileServer, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/empty")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file:///local {html_page(server)}")
    server.put(f"/files/{SDIST_NAME}", Answer(SDIST))

    assert files_in(fetch_sdist(sdist)) == ["CMakeLists.txt"]


@pytest.mark.parametrize("name", ["llama_cpp_python-1.0.1.tar.gz", "llama_cpp_python-1.0.zip.txt"])
def test_an_index_without_the_version_is_a_refusal(
    server: FileServer, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", html_page(server, name=name))
    with pytest.raises(ToolError, match=r"127\.0\.0\.1.* has no source dist") as caught:
        fetch_sdist(sdist)
    assert not isinstance(caught.value, Unreachable)


def test_an_index_that_forbids_is_a_refusal(
    server: FileServer, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/simple/llama-cpp-python/", Answer(status=403))
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    with pytest.raises(Refused):
        fetch_sdist(sdist)


def test_no_index_that_answers_is_unreachable(
    sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    with pytest.raises(Unreachable, match="refused the connection"):
        fetch_sdist(sdist)


def test_pip_settings_are_read_from_its_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = https://mirror.example.org/simple\n"
        "[install]\nextra-index-url = https://two.example.org/simple\n"
        "  file:///local\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.setattr("tools.origins.sdist.pip_config_listing", pip_config_listing)

    assert pip_indexes(pip_settings()) == [
        "https://mirror.example.org/simple",
        "https://two.example.org/simple",
    ]


def test_the_listing_of_pip_is_parsed() -> None:
    # Recorded from pip 23.2.1.
    listing = (
        ":env:.disable-pip-version-check='1'\n"
        "global.cert='/etc/ssl/certs/ca-certificates.crt'\n"
        "global.extra-index-url='file:///a/simple file:///b/simple'\n"
    )
    settings = parse_pip_config(listing)
    assert settings["global.cert"] == "/etc/ssl/certs/ca-certificates.crt"
    assert settings["global.extra-index-url"] == "file:///a/simple file:///b/simple"


# ------------------------------------------------------------------ falling to the next


@pytest.fixture
def unreachable_git(repository: GitOrigin) -> GitOrigin:
    return replace(repository, repository=f"http://127.0.0.1:{closed_port()}/llama.cpp")


@pytest.fixture
def served_sdist(
    server: FileServer, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> SdistOrigin:
    monkeypatch.setenv("PIP_INDEX_URL", html_page(server))
    server.put(f"/files/{SDIST_NAME}", Answer(SDIST))
    return sdist


def with_sources(*sources: SourceOrigin) -> Images:
    return replace(load_images(), llama_cpp=sources)


def test_auto_takes_the_first_origin(
    repository: GitOrigin, sdist: SdistOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = resolve_source(with_sources(repository, sdist), AUTO)

    assert resolved.origin is repository
    printed = capsys.readouterr()
    assert "llama.cpp is from origin fork" in printed.out
    assert "!!" not in printed.err


def test_auto_falls_to_the_next_origin_with_one_loud_line(
    unreachable_git: GitOrigin, served_sdist: SdistOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = resolve_source(with_sources(unreachable_git, served_sdist), AUTO)

    assert resolved.origin is served_sdist
    loud = [line for line in capsys.readouterr().err.splitlines() if line.startswith("!!")]
    assert len(loud) == 1
    assert "origin fork of llama.cpp is unreachable (Failed to connect" in loud[0]
    assert loud[0].endswith("using pypi-1.0")


def test_a_preferred_origin_in_the_cache_needs_no_network(
    repository: GitOrigin, unreachable_git: GitOrigin, served_sdist: SdistOrigin
) -> None:
    fetch_git(repository)
    resolved = resolve_source(with_sources(unreachable_git, served_sdist), AUTO)
    assert resolved.origin is unreachable_git


def test_a_refusal_never_falls_to_the_next_origin(
    repository: GitOrigin, server: FileServer, served_sdist: SdistOrigin
) -> None:
    refused = replace(repository, repository=f"{server.url}/nobody/llama.cpp")
    with pytest.raises(ToolError, match="does not give commit"):
        resolve_source(with_sources(refused, served_sdist), AUTO)


def test_an_origin_that_is_not_automatic_is_only_taken_by_name(
    unreachable_git: GitOrigin, served_sdist: SdistOrigin
) -> None:
    named_only = replace(served_sdist, auto=False)
    images = with_sources(unreachable_git, named_only)

    with pytest.raises(ToolError, match="Failed to connect"):
        resolve_source(images, AUTO)
    resolved = resolve_source(images, Choice(names=("pypi-1.0", "debian-archive")))

    assert resolved.origin is named_only


@pytest.mark.parametrize("choice", [FIRST_ONLY, Choice(names=("fork",))])
def test_an_unreachable_origin_that_was_insisted_on_is_an_error(
    unreachable_git: GitOrigin, served_sdist: SdistOrigin, choice: Choice
) -> None:
    with pytest.raises(ToolError, match=r"origin fork: Failed to connect.*--origin auto"):
        resolve_source(with_sources(unreachable_git, served_sdist), choice)


def test_all_unreachable_names_each(
    unreachable_git: GitOrigin, sdist: SdistOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    with pytest.raises(ToolError, match=r"(?s)fork: Failed.*pypi-1\.0: .*refused.*PIP_INDEX_URL"):
        resolve_source(with_sources(unreachable_git, sdist), AUTO)


# ------------------------------------------------------------------ the base image

AMD64, ARM64 = "linux/amd64", "linux/arm64"
REGISTRY = ImageOrigin("registry", True, "debian:trixie-slim", "sha256:" + "a" * 64)
BOOTSTRAP = BootstrapOrigin(
    "debian-archive", True, "trixie", date(2025, 8, 9), ("ca-certificates",)
)
# As Docker Engine 26.1.5 says it.
NO_SUCH_HOST = (
    'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup '
    "registry-1.docker.io on 192.0.2.53:53: no such host\n"
)


@pytest.mark.parametrize(
    "said",
    [
        NO_SUCH_HOST,
        'Error response from daemon: Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: '
        "connection refused",
        'Error response from daemon: Get "http://127.0.0.1:9997/v2/": net/http: request canceled '
        "(Client.Timeout exceeded while awaiting headers)",
        'Error response from daemon: Get "https://192.0.2.1/v2/": tls: failed to verify '
        "certificate: x509: cannot validate certificate for 192.0.2.1",
        "toomanyrequests: You have reached your pull rate limit.",
        "Error response from daemon: received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_what_the_engine_says_when_no_registry_answers(said: str) -> None:
    assert isinstance(pull_failure(said, REGISTRY), Unreachable)


@pytest.mark.parametrize(
    "said",
    [
        "Error response from daemon: manifest for debian@sha256:aaaa not found: manifest unknown: "
        "manifest unknown",
        "Error response from daemon: pull access denied for nobody/debian, repository does not "
        "exist or may require 'docker login': denied: requested access to the resource is denied",
        "Error response from daemon: unknown: Repository not permitted by container policy",
        # Something answers that is no registry, and its words may be any.
        "Error response from daemon: unknown: <html>\n<body>connection refused: EOF</body></html>",
        "Error response from daemon: error unmarshalling content: invalid character '<' looking "
        "for beginning of value",
        'Error response from daemon: Get "http://127.0.0.1:9/v2/": net/http: HTTP/1.x transport '
        'connection broken: malformed HTTP response "220-connection-refused"',
        'Error response from daemon: Get "http://127.0.0.1:9/v2/": net/http: HTTP/1.x transport '
        'connection broken: malformed HTTP status code "503 OK"',
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon "
        "running?",
        "",
    ],
)
def test_what_the_engine_says_when_it_is_refused(said: str) -> None:
    assert not isinstance(pull_failure(said, REGISTRY), Unreachable)


def test_of_a_page_instead_of_a_registry_only_the_beginning_is_shown() -> None:
    said = f"Error response from daemon: unknown: <html>\n{'words ' * 1000}</html>\n"
    text = str(pull_failure(said, REGISTRY))
    assert text.startswith(f"cannot pull {REGISTRY.pinned}: unknown: <html> words ")
    assert len(text) < 500


# As mmdebstrap 1.3.5 passes on what apt says.
@pytest.mark.parametrize(
    "said",
    [
        "Err:1 http://mirror.invalid/debian trixie InRelease\n"
        "  Could not resolve 'mirror.invalid'\n"
        "E: Failed to fetch http://mirror.invalid/debian/dists/trixie/InRelease  Could not resolve "
        "'mirror.invalid'\nE: mmdebstrap failed to run",
        "E: Failed to fetch https://127.0.0.1:9/debian/dists/trixie/InRelease  Could not connect "
        "to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)",
        "E: Failed to fetch http://mirror.invalid/debian/dists/trixie/InRelease  503  Service "
        "Unavailable [IP: 192.0.2.1 80]",
        # In a build stage.
        "#8 12.31 E: Failed to fetch http://mirror.invalid/debian/dists/trixie/InRelease  Could "
        "not resolve 'mirror.invalid'\n#8 ERROR: process did not complete successfully",
    ],
)
def test_what_mmdebstrap_says_when_no_archive_answers(said: str) -> None:
    assert isinstance(bootstrap_failure(said), Unreachable)


@pytest.mark.parametrize(
    "said",
    [
        "E: Failed to fetch http://mirror.invalid/nope/dists/trixie/InRelease  404  Not Found",
        "Ign:1 http://mirror.invalid/debian trixie InRelease\n"
        "  Could not resolve 'mirror.invalid'\n"
        "W: GPG error: http://mirror.invalid/debian trixie InRelease: NO_PUBKEY 6ED0E7B82643E131\n"
        "E: The repository 'http://mirror.invalid/debian trixie InRelease' is not signed.",
        "E: Unable to locate package no-such-package\nE: mmdebstrap failed to run",
    ],
)
def test_what_mmdebstrap_says_when_it_is_refused(said: str) -> None:
    failure = bootstrap_failure(said)
    assert not isinstance(failure, Unreachable)
    assert said.splitlines()[-1] in str(failure)


def test_the_base_has_the_release_its_updates_and_its_security_updates() -> None:
    lines = source_lines("trixie", "http://mirror.example/debian/", "http://mirror.example/sec/")

    assert [line.partition("] ")[2] for line in lines] == [
        "http://mirror.example/debian/ trixie main",
        "http://mirror.example/debian/ trixie-updates main",
        "http://mirror.example/sec/ trixie-security main",
    ]
    assert all("signed-by=" in line for line in lines)


@dataclass
class FakeEngine:
    """An engine that has some images and cannot reach any registry."""

    has: set[str]
    says: str = NO_SUCH_HOST

    def __call__(self, arguments: list[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
        assert timeout > 0
        if arguments[:2] == ["image", "inspect"]:
            found = arguments[-1] in self.has
            return subprocess.CompletedProcess(
                arguments, 0 if found else 1, AMD64 if found else "", ""
            )
        assert arguments[0] == "pull"
        return subprocess.CompletedProcess(arguments, 1, "", self.says)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine(set())
    monkeypatch.setattr(registry_base, "run_docker", fake)
    monkeypatch.setattr(bootstrap, "run_docker", fake)
    return fake


@pytest.fixture
def with_bases() -> Images:
    return replace(load_images(), base=(REGISTRY, BOOTSTRAP))


def test_a_base_that_the_engine_has_is_not_pulled(engine: FakeEngine, with_bases: Images) -> None:
    engine.has.add(REGISTRY.pinned)

    resolved = resolve_base(with_bases, FIRST_ONLY, AMD64)

    assert resolved.value == REGISTRY.pinned


def test_a_base_of_another_platform_is_not_taken_for_it(
    engine: FakeEngine, with_bases: Images
) -> None:
    engine.has.add(REGISTRY.pinned)
    with pytest.raises(ToolError, match="no such host"):
        resolve_base(with_bases, FIRST_ONLY, ARM64)


def test_a_base_bootstrapped_earlier_is_used_again(
    engine: FakeEngine, with_bases: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    tag = bootstrap.local_tag(BOOTSTRAP, AMD64)
    engine.has.add(tag)

    resolved = resolve_base(with_bases, AUTO, AMD64)

    assert resolved.value == tag
    assert (
        "!! origin registry of the base image for linux/amd64 is unreachable"
        in capsys.readouterr().err
    )


def test_a_registry_without_the_image_is_a_refusal(engine: FakeEngine, with_bases: Images) -> None:
    engine.has.add(bootstrap.local_tag(BOOTSTRAP, AMD64))
    engine.says = "Error response from daemon: manifest unknown"
    with pytest.raises(ToolError, match="cannot pull debian:trixie-slim@sha256:aaaa"):
        resolve_base(with_bases, AUTO, AMD64)


def test_another_recipe_is_another_tag() -> None:
    other = replace(BOOTSTRAP, include=("ca-certificates", "curl"))
    assert bootstrap.local_tag(BOOTSTRAP, AMD64).startswith("jina-embeddings-v5-base:trixie-")
    assert bootstrap.local_tag(BOOTSTRAP, AMD64) != bootstrap.local_tag(other, AMD64)
    assert bootstrap.local_tag(BOOTSTRAP, AMD64) != bootstrap.local_tag(BOOTSTRAP, ARM64)
