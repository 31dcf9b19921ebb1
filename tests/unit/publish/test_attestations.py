"""What is stated about an image, and the form in which it is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tests.support.origins import first_of
from tools.facts.images import (
    CudaImages,
    CudaOrigin,
    GitOrigin,
    SdistOrigin,
    SourceOrigin,
    load_images,
)
from tools.images.cuda import Cuda
from tools.images.labels import Base, labels
from tools.images.version import Revision
from tools.publish.attestations import attestation, statement
from tools.publish.packages import Installed, parse_release, parse_status
from tools.publish.provenance import provenance
from tools.publish.sbom import sbom
from tools.registry.manifests import Blob, compressed_size, image_index, platform_of

IMAGES = load_images()
CPU = IMAGES.images["cpu"]
DIGEST = "sha256:" + "d" * 64
GIT = first_of(GitOrigin, IMAGES.llama_cpp)
SDIST = first_of(SdistOrigin, IMAGES.llama_cpp)

STATUS = """\
Package: libstdc++6
Status: install ok installed
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: arm64
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19+b1
Description: GNU Standard C++ Library v3
 with a second line
Conffiles:
 /etc/x 0123

Package: gone
Status: deinstall ok config-files
Maintainer: Nobody <nobody@example.org>
Architecture: all
Version: 1

Package: base-files
Status: install ok installed
Maintainer: Santiago Vila <sanvila@debian.org>
Architecture: arm64
Version: 1:13.8
"""


def labels_of(source: SourceOrigin) -> dict[str, str]:
    base = Base("debian:trixie-slim", "sha256:" + "b" * 64, "registry")
    revision = Revision("c" * 40, "v1.2.3", 1700000000, "https://host.example/a/b")
    return labels(IMAGES, CPU, source, base, revision, patches=["0001-a"], toolchain="gcc 14.2.0")


def bill(source: SourceOrigin, tmp_path: Path) -> dict[str, object]:
    patch = tmp_path / "0001-a.patch"
    patch.write_text("--- a\n+++ b\n")
    return sbom(
        name="jina-embeddings-v5:1.2.3-cpu linux/arm64",
        digest=DIGEST,
        labels=labels_of(source),
        installed=Installed("debian", "trixie", parse_status(STATUS)),
        source=source,
        patches=[patch],
    )


def test_only_what_is_installed_counts_with_its_source_package() -> None:
    found = parse_status(STATUS)
    assert [(each.name, each.version, each.source) for each in found] == [
        ("base-files", "1:13.8", "base-files 1:13.8"),
        ("libstdc++6", "14.2.0-19+b1", "gcc-14 14.2.0-19"),
    ]


def test_the_release_is_the_codename_or_the_number() -> None:
    text = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="13"\n'
    assert parse_release(text) == ("debian", "13")
    assert parse_release(f"{text}VERSION_CODENAME=trixie\n") == ("debian", "trixie")


def test_the_bill_is_valid_spdx_and_names_everything(tmp_path: Path) -> None:
    for source in (GIT, SDIST):
        document = JsonLikeDictParser().parse(bill(source, tmp_path))
        assert validate_full_spdx_document(document) == []
        packages = {each.name: each for each in document.packages}
        assert set(packages) == {
            "jina-embeddings-v5:1.2.3-cpu linux/arm64",
            "llama.cpp",
            "base-files",
            "libstdc++6",
        }
        (reference,) = packages["libstdc++6"].external_references
        assert reference.locator == (
            "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19%2Bb1?arch=arm64&distro=trixie"
        )
        assert packages["llama.cpp"].version == source.commit
        assert f"origin {source.name}" in str(packages["llama.cpp"].source_info)


def test_an_archive_is_named_beside_the_commit(tmp_path: Path) -> None:
    document = JsonLikeDictParser().parse(bill(SDIST, tmp_path))
    llama = next(each for each in document.packages if each.name == "llama.cpp")
    assert SDIST.sha256 in str(llama.source_info)
    made = provenance(
        image=CPU, platform="linux/arm64", labels=labels_of(SDIST), source=SDIST, cuda=None
    )
    dependencies = made["buildDefinition"]["resolvedDependencies"]  # type: ignore[index]
    assert {"sha256": SDIST.sha256} in [each["digest"] for each in dependencies]


@pytest.mark.parametrize("origin", IMAGES.cuda, ids=lambda each: each.name)
def test_what_cuda_was_compiled_in_and_for_is_stated(origin: CudaOrigin) -> None:
    base = Base("a base", "sha256:" + "b" * 64, "a base")
    image = IMAGES.images["cuda"]
    given = labels(
        *(
            IMAGES,
            image,
            GIT,
            base,
            Revision("c" * 40, "v1.2.3", 1700000000, "https://host.example/a/b"),
        ),
        patches=["0001-a"],
        toolchain="gcc 14.2.0",
        cuda=Cuda(origin, (80, 90)),
    )
    made = provenance(image=image, platform="linux/amd64", labels=given, source=GIT, cuda=origin)
    definition = made["buildDefinition"]
    assert definition["externalParameters"]["cudaArchitectures"] == ["80", "90"]  # type: ignore[index]
    named = [each.get("name") for each in definition["resolvedDependencies"]]  # type: ignore[index]
    devel = [origin.devel.reference] if isinstance(origin, CudaImages) else []
    assert named == [None, None, "a base", *devel]


def test_an_image_without_cuda_states_none() -> None:
    made = provenance(
        image=CPU, platform="linux/amd64", labels=labels_of(GIT), source=GIT, cuda=None
    )
    assert "cuda" not in json.dumps(made)


def test_the_same_inputs_state_the_same(tmp_path: Path) -> None:
    first, second = bill(GIT, tmp_path), bill(GIT, tmp_path)
    assert statement("x", DIGEST, "kind", first) == statement("x", DIGEST, "kind", second)


def test_statements_are_stored_as_buildkit_stores_them() -> None:
    """docs.docker.com/build/metadata/attestations/attestation-storage, property by property."""
    stated = statement("x", DIGEST, "https://spdx.dev/Document", {"SPDXID": "y"})
    assert stated.json["subject"] == [{"name": "x", "digest": {"sha256": "d" * 64}}]
    made = attestation(DIGEST, [stated])
    assert made.descriptor()["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert made.descriptor()["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": DIGEST,
    }
    (layer,) = made.manifest.json["layers"]
    assert layer == {
        "mediaType": "application/vnd.in-toto+json",
        "digest": stated.digest,
        "size": len(stated.content),
        "annotations": {"in-toto.io/predicate-type": "https://spdx.dev/Document"},
    }
    config, *rest = made.blobs
    assert made.manifest.json["config"]["digest"] == config.digest
    assert config.json["rootfs"] == {"type": "layers", "diff_ids": [stated.digest]}
    assert rest == [stated]


def test_an_index_says_what_it_is_and_has_one_form() -> None:
    described = [{"mediaType": "m", "digest": DIGEST, "size": 1, "platform": {"os": "linux"}}]
    index = image_index(described, {"b": "2", "a": "1"})
    assert index == image_index(described, {"a": "1", "b": "2"})
    assert json.loads(index.content)["mediaType"] == index.media_type
    assert platform_of("linux/amd64") == {"os": "linux", "architecture": "amd64"}
    assert platform_of("linux/arm/v7")["variant"] == "v7"


def test_what_a_pull_takes_is_layers_and_configuration() -> None:
    content = {"config": {"size": 1}, "layers": [{"size": 20}, {"size": 300}]}
    assert compressed_size(Blob("m", json.dumps(content).encode())) == 321


def test_a_tree_that_is_nowhere_on_the_web_is_named_by_its_commit(tmp_path: Path) -> None:
    given = {
        key: value for key, value in labels_of(GIT).items() if not key.endswith("image.source")
    }
    made = json.dumps(
        provenance(image=CPU, platform="linux/amd64", labels=given, source=GIT, cuda=None)
    )
    assert f"urn:git:commit:{'c' * 40}/images/Dockerfile" in made
    assert "host.example" not in made
    assert "None" not in made
