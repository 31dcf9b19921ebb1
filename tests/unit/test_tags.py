"""Names and labels."""

from __future__ import annotations

import pytest

from tools.catalog import load_images
from tools.tags import NO_PATCHES, PATCHES_LABEL, Base, Revision, labels, local_name, short_commit

IMAGES = load_images()
BASE = Base("debian:trixie-slim", "sha256:" + "a" * 64, "registry")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


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
    assert local_name(IMAGES, IMAGES.images["cpu"]) == "jina-embeddings-v5:cpu"


def test_labels_tell_where_everything_came_from() -> None:
    source = IMAGES.llama_cpp[0]
    revision = Revision(COMMIT, "v1.2.3")
    found = labels(
        IMAGES, IMAGES.images["cpu"], source, BASE, revision, patches=["0001-a", "0002-b"]
    )
    assert found["org.opencontainers.image.version"] == "1.2.3"
    assert found["org.opencontainers.image.revision"] == COMMIT
    assert found["org.opencontainers.image.base.digest"] == BASE.digest
    assert found["dev.jina-embeddings-v5.llama-cpp.commit"] == source.commit
    assert found["dev.jina-embeddings-v5.llama-cpp.origin"] == "fork"
    assert found[PATCHES_LABEL] == "0001-a,0002-b"
    assert all(found.values())


def test_a_bare_image_says_that_it_has_no_patches() -> None:
    bare = labels(
        IMAGES, IMAGES.images["cpu"], IMAGES.llama_cpp[0], BASE, Revision("", ""), patches=[]
    )
    assert bare[PATCHES_LABEL] == NO_PATCHES


def test_short_commit_is_what_git_would_print() -> None:
    assert [short_commit(origin) for origin in IMAGES.llama_cpp] == [
        "3459d54ca",
        "0c1e57098",
        "63d93d173",
        "49bfddeca",
    ]
