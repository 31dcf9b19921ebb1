"""The bill of materials of an image: an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/).

It names every Debian package in the image, and llama.cpp with where it is from and our patches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tools.facts.images import SdistOrigin, SourceOrigin
from tools.images.labels import OCI, VERSION_LABEL
from tools.publish.packages import Installed, Package

PREDICATE_TYPE = "https://spdx.dev/Document"

_IMAGE = "SPDXRef-image"
_LLAMA_CPP = "SPDXRef-llama.cpp"
_UNKNOWN = "NOASSERTION"


def sbom(
    *,
    name: str,
    digest: str,
    labels: Mapping[str, str],
    installed: Installed,
    source: SourceOrigin,
    patches: Sequence[Path],
) -> dict[str, object]:
    """Return the SPDX document of one platform's image, the same whenever the inputs are.

    ``digest`` is that of the image's manifest; ``patches`` are the files that were applied to
    llama.cpp.
    """
    packages = {
        _identifier("deb", each.name, each.architecture): each for each in installed.packages
    }
    files = {_identifier("patch", path.stem): path for path in patches}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{digest.replace(':', '-')}",
        "creationInfo": {
            "created": labels[f"{OCI}.created"],
            "creators": [f"Tool: jina-embeddings-v5-images-{labels[VERSION_LABEL]}"],
        },
        "documentDescribes": [_IMAGE],
        "packages": [
            _image(name, digest, labels),
            _llama_cpp(source),
            *(_debian(key, each, installed) for key, each in packages.items()),
        ],
        "files": [_patch(key, path) for key, path in files.items()],
        "relationships": [
            _related("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE),
            *(_related(_IMAGE, "CONTAINS", each) for each in [_LLAMA_CPP, *packages]),
            *(_related(each, "PATCH_APPLIED", _LLAMA_CPP) for each in files),
        ],
    }


def _identifier(*parts: str) -> str:
    """Return an SPDX identifier; it may hold only letters, digits, dots and hyphens."""
    return "SPDXRef-" + "-".join(re.sub(r"[^A-Za-z0-9.-]", "-", part) for part in parts)


def _related(element: str, kind: str, other: str) -> dict[str, str]:
    return {
        "spdxElementId": element,
        "relationshipType": kind,
        "relatedSpdxElement": other,
    }


def _package(identifier: str, name: str, version: str, **more: object) -> dict[str, object]:
    return {
        "SPDXID": identifier,
        "name": name,
        "versionInfo": version,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
        **more,
    }


def _purl(locator: str) -> dict[str, str]:
    """Return a package URL (github.com/package-url/purl-spec) as an external reference."""
    return {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": locator,
    }


def _image(name: str, digest: str, labels: Mapping[str, str]) -> dict[str, object]:
    return _package(
        _IMAGE,
        name,
        labels[VERSION_LABEL],
        primaryPackagePurpose="CONTAINER",
        checksums=[_checksum("SHA256", digest.removeprefix("sha256:"))],
        licenseDeclared=labels[f"{OCI}.licenses"],
    )


def _llama_cpp(source: SourceOrigin) -> dict[str, object]:
    """Return the entry of llama.cpp: its repository and commit, and where we have it from."""
    repository = source.repository.removeprefix("https://github.com/")
    references = [_purl(f"pkg:github/{repository.lower()}@{source.commit}")]
    taken = f"from origin {source.name}"
    if isinstance(source, SdistOrigin):
        references.append(_purl(f"pkg:pypi/{source.project}@{source.version}"))
        taken += (
            f": {source.folder} in the source distribution {source.project} {source.version}, "
            f"sha256 {source.sha256}"
        )
    return _package(
        _LLAMA_CPP,
        "llama.cpp",
        source.commit,
        downloadLocation=f"git+{source.repository}@{source.commit}",
        sourceInfo=taken,
        licenseDeclared="MIT",
        externalRefs=references,
    )


def _debian(identifier: str, package: Package, installed: Installed) -> dict[str, object]:
    purl = (
        f"pkg:deb/{installed.distribution}/{quote(package.name)}@{quote(package.version)}"
        f"?arch={package.architecture}&distro={installed.release}"
    )
    return _package(
        identifier,
        package.name,
        package.version,
        supplier=f"Organization: {package.maintainer}",
        sourceInfo=f"built from the source package {package.source}",
        externalRefs=[_purl(purl)],
    )


def _patch(identifier: str, path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {
        "SPDXID": identifier,
        "fileName": f"./images/patches/{path.name}",
        # SPDX 2.3 wants a SHA-1 of every file, whatever else there is.
        "checksums": [
            _checksum("SHA1", hashlib.sha1(content, usedforsecurity=False).hexdigest()),
            _checksum("SHA256", hashlib.sha256(content).hexdigest()),
        ],
        "licenseConcluded": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _checksum(algorithm: str, value: str) -> dict[str, str]:
    return {"algorithm": algorithm, "checksumValue": value}
