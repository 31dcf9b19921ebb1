"""Names and labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tools.common.errors import ToolError
from tools.facts.images import SourceOrigin, load_images, local_name
from tools.images.cuda import Cuda
from tools.images.labels import (
    NO_PATCHES,
    PATCHES_LABEL,
    TOOLCHAIN_LABEL,
    Base,
    index_annotations,
    is_fallback,
    labels,
    short_commit,
)
from tools.images.names import Names, names
from tools.images.version import Revision, is_newer, newest_version_tag, read_revision, web_address

IMAGES = load_images()
BASE = Base("debian:trixie-slim", "sha256:" + "a" * 64, "registry")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RELEASE = Revision(COMMIT, "v1.2.3", 1700000000)


@pytest.mark.parametrize(
    ("revision", "version"),
    [
        (Revision(COMMIT, "v1.2.3"), "1.2.3"),
        (Revision(COMMIT, ""), "0.0.0-dev.0123456789ab"),
        (Revision("", ""), "0.0.0-dev.unknown"),
    ],
)
def test_version_comes_from_the_tag_or_names_the_commit(revision: Revision, version: str) -> None:
    assert revision.version == version


def test_local_name_is_the_one_that_the_readme_uses() -> None:
    cpu = IMAGES.images["cpu"]
    assert local_name(IMAGES, cpu) == "jina-embeddings-v5:cpu"
    assert local_name(IMAGES, cpu, "linux/arm64") == "jina-embeddings-v5:cpu-arm64"


def made(
    source: SourceOrigin = IMAGES.llama_cpp[0],
    base: Base = BASE,
    revision: Revision = RELEASE,
    patches: tuple[str, ...] = ("0001-a", "0002-b"),
    cuda: Cuda | None = None,
) -> dict[str, str]:
    image = IMAGES.images["cuda" if cuda else "cpu"]
    compiler = "gcc 14.2.0"
    return labels(
        IMAGES, image, source, base, revision, patches=patches, toolchain=compiler, cuda=cuda
    )


def test_labels_tell_where_everything_came_from() -> None:
    found = made()
    assert found["org.opencontainers.image.version"] == "1.2.3"
    assert found["org.opencontainers.image.revision"] == COMMIT
    assert found["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert found["org.opencontainers.image.base.digest"] == BASE.digest
    assert found["dev.jina-embeddings-v5.llama-cpp.commit"] == IMAGES.llama_cpp[0].commit
    assert found["dev.jina-embeddings-v5.llama-cpp.origin"] == "fork"
    assert found["dev.jina-embeddings-v5.flavour"] == "cpu"
    assert found["org.opencontainers.image.licenses"] == "Apache-2.0 AND MIT"
    assert not [key for key in found if ".cuda." in key]
    assert found[PATCHES_LABEL] == "0001-a,0002-b"
    assert found[TOOLCHAIN_LABEL] == "gcc 14.2.0"
    assert all(found.values())


def test_a_bare_image_says_that_it_has_no_patches() -> None:
    assert made(patches=())[PATCHES_LABEL] == NO_PATCHES


def test_an_input_from_another_origin_marks_the_version() -> None:
    archive = Base("debian:trixie (bootstrapped)", BASE.digest, "debian-archive")
    for found in (made(source=IMAGES.llama_cpp[1]), made(base=archive)):
        assert is_fallback(IMAGES, found)
        assert found["org.opencontainers.image.version"] == "1.2.3-dev"
    assert not is_fallback(IMAGES, made())


def test_an_image_with_cuda_says_what_code_is_in_it_and_under_which_terms() -> None:
    nvidia, debian = IMAGES.cuda
    found = made(base=Base("nvidia", BASE.digest, "nvidia"), cuda=Cuda(nvidia, (90, 100, 120)))
    assert found["dev.jina-embeddings-v5.flavour"] == "cuda"
    assert found["dev.jina-embeddings-v5.cuda.origin"] == "nvidia"
    assert found["dev.jina-embeddings-v5.cuda.version"] == "12.8"
    assert found["dev.jina-embeddings-v5.cuda.architectures"] == "90,100,120"
    assert found["dev.jina-embeddings-v5.cuda.ptx"] == "100"
    assert found["org.opencontainers.image.licenses"].endswith(" AND LicenseRef-NVIDIA-CUDA-EULA")
    assert not is_fallback(IMAGES, found)
    assert is_fallback(IMAGES, made(cuda=Cuda(debian, (90,))))


# ------------------------------------------------------------------ names of published images


def test_a_release_has_its_own_tags_and_moves_the_short_ones() -> None:
    assert names("cpu", RELEASE, fallback=False) == Names(
        fixed=("1.2.3-cpu",), of_commit=(f"sha-{COMMIT}-cpu",), moving=("1.2-cpu", "cpu")
    )


@pytest.mark.parametrize("tag", ["v1.3.0-rc.1", ""])
def test_pre_releases_and_development_versions_move_nothing(tag: str) -> None:
    revision = Revision(COMMIT, tag)
    assert names("cuda", revision, fallback=False) == Names(
        fixed=(f"{revision.version}-cuda",), of_commit=(f"sha-{COMMIT}-cuda",), moving=()
    )


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("v1.2.3", "1.2.3-dev-cpu"),
        ("v1.2.3-rc.1", "1.2.3-rc.1-dev-cpu"),
        ("", "0.0.0-dev.0123456789ab-dev-cpu"),
    ],
)
def test_fallback_origins_leave_every_name_of_the_commit_alone(tag: str, name: str) -> None:
    assert names("cpu", Revision(COMMIT, tag), fallback=True) == Names((name,), (), ())


def test_an_untested_platform_gets_its_version_only() -> None:
    assert names("cpu", RELEASE, fallback=False, tested=False) == Names(("1.2.3-cpu",), (), ())


def test_the_short_names_are_the_last() -> None:
    found = names("cpu", RELEASE, fallback=False)
    assert found.all == ("1.2.3-cpu", f"sha-{COMMIT}-cpu", "1.2-cpu", "cpu")


def test_versions_are_compared_as_numbers_and_pre_releases_come_first() -> None:
    # From alpha to the release: the example of semver.org's item 11.
    ordered = ["0.9.9", "0.10.0-rc.1", "0.10.0-rc.9", "0.10.0-rc.10", "0.10.0"]
    ordered += [f"1.0.0-{pre}" for pre in ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2")]
    ordered += ["1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.10"]
    for older, newer in pairwise(ordered):
        assert is_newer(newer, older)
        assert not is_newer(older, newer)
        assert not is_newer(newer, newer)
    for faulty in ("1.2", "1.2.3-", "1.2.3-rc..1", "1.2.3-rc."):
        with pytest.raises(ToolError, match="is not a version"):
            is_newer(faulty, "1.1.0")


def test_the_newest_version_among_a_commits_tags_counts() -> None:
    assert newest_version_tag(["v1", "v1.2.3-rc.1", "v1.2.3", "nightly"]) == "v1.2.3"
    assert newest_version_tag(["v1.2.3-rc.10", "v1.2.3-rc.9"]) == "v1.2.3-rc.10"
    assert newest_version_tag(["v1", "v01.2.3", "1.2.3", "v1.2.3+build"]) == ""


@pytest.mark.parametrize("tag", ["v1.2.3-dev", "v1.2.3-rc.1-dev"])
def test_a_git_tag_that_looks_like_a_fallback_build_is_refused(tag: str) -> None:
    with pytest.raises(ToolError, match=f"git tag --delete {tag}"):
        newest_version_tag(["v1.2.3", tag])


def test_an_index_is_annotated_with_what_its_platforms_agree_on() -> None:
    first = {**made(), "maintainer": "somebody"}
    second = made(base=Base(BASE.name, "sha256:" + "b" * 64, BASE.origin))
    found = index_annotations([first, second])
    assert found["org.opencontainers.image.version"] == "1.2.3"
    assert "org.opencontainers.image.base.digest" not in found
    assert "maintainer" not in found
    assert index_annotations([first])["org.opencontainers.image.base.digest"] == BASE.digest


def test_the_time_is_the_commits_unless_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert read_revision().created == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ToolError, match="SOURCE_DATE_EPOCH"):
        read_revision()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert read_revision().time > 1700000000


def test_short_commit_is_what_git_would_print() -> None:
    origin = replace(IMAGES.llama_cpp[0], commit="49bfddeca18e62fa3d39114a23e9fcbdf8a22388")
    assert short_commit(origin) == "49bfddeca"


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/owner/name.git", "https://github.com/owner/name"),
        ("https://user:secret@host.example/owner/name", "https://host.example/owner/name"),
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("ssh://git@host.example:2222/owner/name.git/", "https://host.example/owner/name"),
        ("/somewhere/a-clone", ""),
        ("../a-clone", ""),
        ("file:///somewhere/a-clone", ""),
        ("", ""),
    ],
)
def test_a_remote_is_shown_as_a_person_reaches_it(remote: str, address: str) -> None:
    assert web_address(remote) == address


def test_the_source_is_ci_s_own_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    assert read_revision().source == "https://github.example/owner/name"


def test_a_label_of_the_source_is_there_only_where_one_is_known() -> None:
    key = "org.opencontainers.image.source"
    assert key not in made()
    assert (
        made(revision=replace(RELEASE, source="https://a.example/b"))[key] == "https://a.example/b"
    )
