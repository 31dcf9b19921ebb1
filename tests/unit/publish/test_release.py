"""What may be published, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.facts.images import load_images
from tools.facts.models import load_models
from tools.images.labels import (
    BASE_ORIGIN_LABEL,
    CUDA_ARCHITECTURES_LABEL,
    CUDA_ORIGIN_LABEL,
    FLAVOUR_LABEL,
    MODEL_LABEL,
    NO_PATCHES,
    PATCHES_LABEL,
    REVISION_LABEL,
    SOURCE_ORIGIN_LABEL,
    VARIANTS_LABEL,
    VERSION_LABEL,
)
from tools.images.version import Revision
from tools.publish.plan import Built, Release, local_references, plan_release, refusals

IMAGES, MODELS = load_images(), load_models()
CPU = IMAGES.images["cpu"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RELEASE = Revision(COMMIT, "v1.2.3")
GOOD = {
    REVISION_LABEL: COMMIT,
    VERSION_LABEL: "1.2.3",
    PATCHES_LABEL: "0001-embeddings",
    FLAVOUR_LABEL: "cpu",
    SOURCE_ORIGIN_LABEL: IMAGES.llama_cpp[0].name,
    BASE_ORIGIN_LABEL: IMAGES.base[0].name,
}


def built(platform: str = "linux/amd64", **labels: str) -> Built:
    reference = f"jina-embeddings-v5:cpu-{platform.rpartition('/')[2]}"
    return Built(platform, reference, "sha256:" + "a" * 64, {**GOOD, **labels})


def reasons(
    *images: Built, revision: Revision = RELEASE, allow_fallback_origins: bool = False
) -> list[str]:
    release = plan_release(CPU, images, IMAGES, revision)
    return refusals(
        release, IMAGES, MODELS, revision, allow_fallback_origins=allow_fallback_origins
    )


def test_a_release_of_this_tree_from_first_origins_is_allowed() -> None:
    assert reasons(built(), built("linux/arm64")) == []


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({REVISION_LABEL: "f" * 40}, "was built from f"),
        ({VERSION_LABEL: "0.0.0-dev.0123456789ab"}, "is version 0.0.0-dev.0123456789ab, not 1.2.3"),
        ({PATCHES_LABEL: NO_PATCHES}, "without our patches"),
        ({VARIANTS_LABEL: "one"}, "one variant of the CPU kernels"),
        ({FLAVOUR_LABEL: "cuda"}, "is of the flavour cuda, not cpu"),
        ({FLAVOUR_LABEL: ""}, "is of the flavour unknown, not cpu"),
        ({SOURCE_ORIGIN_LABEL: "pypi-0.3.36"}, "it is of pypi-0.3.36, registry"),
        ({BASE_ORIGIN_LABEL: "debian-archive"}, "it is of fork, debian-archive"),
        ({MODEL_LABEL: "nano"}, "CC-BY-NC-4.0"),
    ],
)
def test_one_platform_that_is_wrong_is_enough(labels: dict[str, str], reason: str) -> None:
    faulty = replace(built("linux/arm64"), labels={**GOOD, **labels})
    found = reasons(built(), faulty)
    assert any(reason in each and faulty.reference in each for each in found), found


def test_a_dirty_tree_and_one_without_git_are_refused() -> None:
    dirty = Revision(f"{COMMIT}-dirty", "")
    assert "no commit holds" in reasons(built(), revision=dirty)[0]
    assert "no git checkout" in reasons(built(), revision=Revision("", ""))[0]


def test_fallback_origins_are_allowed_on_request_and_mark_the_version() -> None:
    image = replace(
        built(),
        labels={**GOOD, SOURCE_ORIGIN_LABEL: "pypi-0.3.36", VERSION_LABEL: "1.2.3-dev"},
    )
    assert reasons(image, allow_fallback_origins=True) == []
    assert any("--allow-fallback-origins" in each for each in reasons(image))
    unmarked = replace(image, labels={**image.labels, VERSION_LABEL: "1.2.3"})
    assert any("not 1.2.3-dev" in each for each in reasons(unmarked, allow_fallback_origins=True))
    release = plan_release(CPU, (image,), IMAGES, RELEASE)
    assert release.names.fixed == ("1.2.3-dev-cpu",)
    assert release.names.moving == ()


def test_a_baked_image_is_refused_whatever_is_allowed() -> None:
    baked = replace(built(), labels={**GOOD, MODEL_LABEL: "small"})
    assert "model small" in reasons(baked, allow_fallback_origins=True)[0]


@pytest.mark.parametrize(
    ("architectures", "missing"),
    [
        ("75,80,86,89,90,100,120", None),
        ("90", "75, 80, 86, 89, 100, 120"),
        ("75,80,86,89,90,100", "120"),
        (None, "75, 80, 86, 89, 90, 100, 120"),
    ],
)
def test_a_cuda_image_for_fewer_gpus_is_refused(
    architectures: str | None, missing: str | None
) -> None:
    """``--cuda-arch 90`` is for a quick build of one's own; as `cuda` it would fail on others."""
    labels = {**GOOD, FLAVOUR_LABEL: "cuda", CUDA_ORIGIN_LABEL: IMAGES.cuda[0].name}
    if architectures:
        labels[CUDA_ARCHITECTURES_LABEL] = architectures
    image = replace(built(), labels=labels)
    release = plan_release(IMAGES.images["cuda"], (image,), IMAGES, RELEASE)
    found = refusals(release, IMAGES, MODELS, RELEASE, allow_fallback_origins=False)
    if missing is None:
        assert found == []
    else:
        (reason,) = found
        assert f"GPU architectures {missing}; build it without --cuda-arch" in reason


def test_an_older_toolkit_cannot_be_asked_for_newer_gpus() -> None:
    origin = IMAGES.cuda[1]
    labels = {
        **GOOD,
        VERSION_LABEL: "1.2.3-dev",
        FLAVOUR_LABEL: "cuda",
        CUDA_ORIGIN_LABEL: origin.name,
        CUDA_ARCHITECTURES_LABEL: "75,80,86,89,90",
    }
    image = replace(built(), labels=labels)
    release = plan_release(IMAGES.images["cuda"], (image,), IMAGES, RELEASE)
    assert refusals(release, IMAGES, MODELS, RELEASE, allow_fallback_origins=True) == []


def test_only_platforms_that_are_published_can_be_left_untested() -> None:
    def untested(*platforms: str) -> Release:
        return plan_release(CPU, (built(),), IMAGES, RELEASE, platforms)

    assert untested("linux/arm64").names.moving == ("1.2-cpu", "cpu")
    assert untested("linux/amd64").names.moving == ()


def test_a_candidate_is_named_for_its_content_and_no_release_is_named_so() -> None:
    assert built("linux/arm64").candidate_tag == "candidate-aaaaaaaaaaaaaaaa-arm64"


def test_a_platform_is_looked_for_under_its_own_name_first() -> None:
    assert local_references(IMAGES, CPU, "linux/arm64") == [
        "jina-embeddings-v5:cpu-arm64",
        "jina-embeddings-v5:cpu",
    ]
