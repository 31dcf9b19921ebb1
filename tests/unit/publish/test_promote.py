"""What in a registry is the image that was pushed, and which names are set."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest

from tools.common.errors import ToolError
from tools.facts.images import load_images
from tools.images.labels import (
    BASE_ORIGIN_LABEL,
    REVISION_LABEL,
    SOURCE_ORIGIN_LABEL,
    VERSION_LABEL,
)
from tools.images.version import Revision
from tools.publish.plan import Built, Release, plan_release
from tools.publish.promote import image_manifest, must_set, names_to_set
from tools.registry.client import Registry, parse_repository
from tools.registry.manifests import (
    CONFIG,
    INDEX,
    MANIFEST,
    Blob,
    canonical,
    image_index,
    platform_of,
)

IMAGES = load_images()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def registry_with(content: Mapping[str, Blob]) -> Registry:
    """A repository that has these manifests, by their tags and by their digests."""
    stored = {**content, **{blob.digest: blob for blob in content.values()}}

    def answer(request: httpx.Request) -> httpx.Response:
        found = stored.get(request.url.path.rpartition("/")[2])
        if found is None:
            return httpx.Response(404)
        return httpx.Response(
            200, content=found.content, headers={"Content-Type": found.media_type}
        )

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return Registry(http, parse_repository("ghcr.io/owner/jina-embeddings-v5"))


# ------------------------------------------------------------------ is it what was pushed?


def manifest_of(name: str) -> Blob:
    config = Blob(CONFIG, name.encode())
    return Blob(MANIFEST, canonical({"config": config.descriptor(), "layers": []}))


AMD64, ARM64, OTHER = (manifest_of(name) for name in ("amd64", "arm64", "other"))
BOTH = image_index(
    [
        AMD64.descriptor(platform={"os": "linux", "architecture": "amd64"}),
        ARM64.descriptor(platform={"os": "linux", "architecture": "arm64", "variant": "v8"}),
        OTHER.descriptor(platform={"os": "unknown", "architecture": "unknown"}),
    ],
    {},
)
TARGET = registry_with({"amd64": AMD64, "arm64": ARM64, "other": OTHER, "both": BOTH})


def local(image_id: str, platform: str = "linux/arm64") -> Built:
    return Built(platform, "jina-embeddings-v5:cpu", image_id, {})


@pytest.mark.parametrize(
    ("found", "image_id"),
    [
        pytest.param(ARM64, ARM64.json["config"]["digest"], id="classic-store"),
        pytest.param(ARM64, ARM64.digest, id="containerd-store"),
        pytest.param(BOTH, BOTH.digest, id="containerd-store-index"),
        pytest.param(BOTH, ARM64.digest, id="manifest-in-an-index"),
        pytest.param(BOTH, ARM64.json["config"]["digest"], id="configuration-in-an-index"),
    ],
)
def test_the_image_is_known_by_whatever_id_its_store_gives_it(found: Blob, image_id: str) -> None:
    assert image_manifest(found, local(image_id), TARGET) == ARM64


@pytest.mark.parametrize(
    ("found", "image_id", "platform"),
    [
        pytest.param(OTHER, ARM64.digest, "linux/arm64", id="another-image"),
        pytest.param(BOTH, AMD64.digest, "linux/arm64", id="another-platforms"),
        pytest.param(BOTH, OTHER.digest, "linux/arm64", id="an-attestation"),
        pytest.param(BOTH, BOTH.digest, "linux/riscv64", id="an-index-without-the-platform"),
        pytest.param(Blob("text/plain", b"{}"), ARM64.digest, "linux/arm64", id="no-manifest"),
    ],
)
def test_anything_else_under_the_candidates_name_is_refused(
    found: Blob, image_id: str, platform: str
) -> None:
    with pytest.raises(ToolError, match="somebody else writes that tag"):
        image_manifest(found, local(image_id, platform), TARGET)


# ------------------------------------------------------------------ which names are set


def release_of(revision: Revision) -> Release:
    labels = {
        REVISION_LABEL: revision.commit,
        VERSION_LABEL: revision.version,
        SOURCE_ORIGIN_LABEL: IMAGES.llama_cpp[0].name,
        BASE_ORIGIN_LABEL: IMAGES.base[0].name,
    }
    built = Built("linux/amd64", "jina-embeddings-v5:cpu", "sha256:0", labels)
    return plan_release(IMAGES.images["cpu"], (built,), IMAGES, revision)


def index_of(release: Release) -> Blob:
    described = AMD64.descriptor(platform=platform_of("linux/amd64"))
    return image_index([described], release.built[0].labels)


CANDIDATE, RELEASE = (release_of(Revision(COMMIT, tag)) for tag in ("v1.2.3-rc.1", "v1.2.3"))
OF_COMMIT = f"sha-{COMMIT}-cpu"


def test_a_release_follows_its_candidate_and_leaves_it_the_commits_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    candidate = index_of(CANDIDATE)
    target = registry_with({"1.2.3-rc.1-cpu": candidate, OF_COMMIT: candidate})
    wanted = names_to_set(RELEASE, index_of(RELEASE), target)
    assert wanted == ["1.2.3-cpu", "1.2-cpu", "cpu"]
    assert f"{OF_COMMIT} stays version 1.2.3-rc.1" in capsys.readouterr().err


def test_a_commits_name_that_means_another_commit_is_refused() -> None:
    other = index_of(release_of(Revision("f" * 40, "v1.2.3")))
    with pytest.raises(ToolError, match=f"{OF_COMMIT} is there already with other content"):
        must_set(OF_COMMIT, RELEASE, index_of(RELEASE), registry_with({OF_COMMIT: other}))


def test_a_version_that_was_built_again_of_the_same_commit_is_refused() -> None:
    again = index_of(RELEASE)
    before = Blob(INDEX, again.content + b"\n")
    with pytest.raises(ToolError, match=r"1\.2\.3-cpu is there already with other content"):
        must_set("1.2.3-cpu", RELEASE, again, registry_with({"1.2.3-cpu": before}))


@pytest.mark.parametrize(("there", "moves"), [("v1.2.2", True), ("v1.2.4", False)])
def test_a_short_name_only_moves_forward(there: str, moves: bool) -> None:
    other = index_of(release_of(Revision("f" * 40, there)))
    target = registry_with({"cpu": other})
    assert must_set("cpu", RELEASE, index_of(RELEASE), target) == moves
