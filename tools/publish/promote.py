"""From local images to published names: push, test what comes back, make an index, name it.

Interrupted anywhere, no name of a release means an image that was not tested: names are the last
thing that is made, the long ones first, the short ones last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tools.common.console import loud, say, table
from tools.common.errors import ToolError
from tools.engine.docker import ask_docker, run_docker, show_docker
from tools.facts.images import CudaOrigin, Images, SourceOrigin
from tools.images.labels import (
    CUDA_ORIGIN_LABEL,
    NO_PATCHES,
    PATCHES_LABEL,
    REVISION_LABEL,
    SOURCE_ORIGIN_LABEL,
    VERSION_LABEL,
    index_annotations,
)
from tools.images.recipe import PATCHES
from tools.images.version import is_newer
from tools.publish.attestations import Attestation, attestation, statement
from tools.publish.packages import installed_packages
from tools.publish.plan import Built, Release
from tools.publish.provenance import PREDICATE_TYPE as PROVENANCE
from tools.publish.provenance import provenance
from tools.publish.sbom import PREDICATE_TYPE as SBOM
from tools.publish.sbom import sbom
from tools.publish.suites import SUITES, is_emulated, run_suites
from tools.registry.client import Registry, Repository
from tools.registry.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Blob,
    compressed_size,
    image_index,
    platform_of,
)

#: Seconds for an image of gigabytes on a slow line, and for a few small requests.
_PUSH_TIMEOUT = 3600
_NAME_TIMEOUT = 120

Origin = TypeVar("Origin", bound=SourceOrigin | CudaOrigin)


@dataclass(frozen=True)
class Pushed:
    """One platform's image in the registry, and what is stated about it."""

    built: Built
    manifest: Blob
    attestation: Attestation


def publish(
    release: Release, images: Images, target: Registry, suites: Sequence[str] = SUITES
) -> str:
    """Publish one image flavour and return the digest of its index.

    Raises ToolError or Unreachable as soon as a step fails; what has its name by then was tested.
    """
    repository = target.repository
    pushed = [push(built, release, images, target) for built in release.built]
    index = image_index(
        [
            *(
                each.manifest.descriptor(platform=platform_of(each.built.platform))
                for each in pushed
            ),
            *(each.attestation.descriptor() for each in pushed),
        ],
        index_annotations([built.labels for built in release.built]),
    )
    wanted = names_to_set(release, index, target)
    if wanted:
        for each in pushed:
            verify(f"{repository}@{each.manifest.digest}", each.built, release, suites)
        for each in pushed:
            for blob in each.attestation.blobs:
                target.put_blob(blob.content)
            target.put_manifest(each.attestation.manifest)
        target.put_manifest(index)
        for tag in wanted:
            # Asked again: since the tests began, another release may have come, and a registry
            # sets a tag whatever it means.
            if must_set(tag, release, index, target):
                set_name(target, tag, index)
    else:
        say(f"{release.image.name} is published already")
    report(release, pushed, index, repository)
    return index.digest


def push(built: Built, release: Release, images: Images, target: Registry) -> Pushed:
    """Push one platform's image under a name that no release has, and describe it."""
    candidate = f"{target.repository}:{built.candidate_tag}"
    say(f"pushing {built.platform} as {built.candidate_tag}")
    ask_docker(["image", "tag", built.id, candidate], failed=f"cannot tag {built.reference}")
    try:
        sent = show_docker(["push", candidate], timeout=_PUSH_TIMEOUT)
    finally:
        run_docker(["image", "rm", "--no-prune", candidate], timeout=60)
    if sent.returncode != 0:
        raise push_failure(sent.stderr, target.repository)
    found = target.manifest(built.candidate_tag)
    if found is None:
        raise ToolError(f"{target.repository.host} took {candidate} and does not have it")
    manifest = image_manifest(found, built, target)
    return Pushed(built, manifest, describe(built, manifest.digest, release, images))


def image_manifest(found: Blob, built: Built, target: Registry) -> Blob:
    """Return the manifest of one platform's image, from what `docker push` stored of it.

    An image's id is its configuration's digest in the engine's classic image store; in
    containerd's it is the digest of its manifest, or of an index with that manifest
    (https://github.com/docker/cli/issues/5526). Raises ToolError when that image is not there.
    """
    manifests: list[Blob | None] = [found]
    if found.media_type in (INDEX, DOCKER_INDEX):
        wanted = platform_of(built.platform).items()
        manifests = [
            target.manifest(each["digest"])
            for each in found.json["manifests"]
            if wanted <= each.get("platform", {}).items()
        ]
    for manifest in manifests:
        if manifest is None or manifest.media_type not in (MANIFEST, DOCKER_MANIFEST):
            continue
        if built.id in (found.digest, manifest.digest, manifest.json["config"]["digest"]):
            return manifest
    raise ToolError(
        f"{target.repository}:{built.candidate_tag} is {found.digest} ({found.media_type}), which "
        f"is not {built.reference} for {built.platform} ({built.id}): somebody else writes that tag"
    )


def push_failure(said: str, repository: Repository) -> ToolError:
    """Turn what `docker push` said into what a person can do."""
    text = said.strip() or "no reason given"
    host = repository.host
    if "no basic auth credentials" in text or "unauthorized" in text or "denied" in text:
        return ToolError(
            f"{host} does not let you write {repository.name}; log in with `docker login {host}`, "
            f"as somebody who may ({text})"
        )
    if "unsupported" in text or "not allowed" in text.lower():
        return ToolError(f"{host} takes nothing: it is read-only ({text})")
    return ToolError(f"cannot push to {repository}: {text}")


def describe(built: Built, digest: str, release: Release, images: Images) -> Attestation:
    """Return the bill of materials and the provenance of one platform's image."""
    labels = built.labels
    source = _origin(images.llama_cpp, labels[SOURCE_ORIGIN_LABEL], "llama.cpp")
    cuda = None
    if CUDA_ORIGIN_LABEL in labels:
        cuda = _origin(images.cuda, labels[CUDA_ORIGIN_LABEL], "CUDA")
    name = f"{images.repository}:{labels[VERSION_LABEL]}-{release.image.name} {built.platform}"
    bill = sbom(
        name=name,
        digest=digest,
        labels=labels,
        installed=installed_packages(built.id),
        source=source,
        patches=[
            PATCHES / f"{patch}.patch"
            for patch in labels[PATCHES_LABEL].split(",")
            if patch != NO_PATCHES
        ],
    )
    made = provenance(
        image=release.image, platform=built.platform, labels=labels, source=source, cuda=cuda
    )
    return attestation(
        digest,
        [statement(name, digest, SBOM, bill), statement(name, digest, PROVENANCE, made)],
    )


def _origin(origins: Sequence[Origin], name: str, what: str) -> Origin:
    """Return the origin that an image's label names."""
    for origin in origins:
        if origin.name == name:
            return origin
    raise ToolError(f"images.toml has no origin {name} of {what}, which the image's label names")


def names_to_set(release: Release, index: Blob, target: Registry) -> list[str]:
    """Return the tags that do not mean ``index`` yet and shall, in the order to set them."""
    return [tag for tag in release.names.all if must_set(tag, release, index, target)]


def must_set(tag: str, release: Release, index: Blob, target: Registry) -> bool:
    """Whether a tag of the release does not mean ``index`` yet and shall, as the registry is now.

    A moving tag that means a newer version, and a commit's that means another build of that
    commit, is left there, which is said loudly. Raises ToolError when another tag that never
    changes means something else, or a moving one something that is not ours.
    """
    found = target.manifest(tag)
    if found is None:
        return True
    if found.digest == index.digest:
        return False
    labels = release.built[0].labels
    said = found.json.get("annotations", {})
    if tag in release.names.moving:
        return _moves(tag, found, labels[VERSION_LABEL], target.repository)
    if tag in release.names.of_commit and said.get(REVISION_LABEL) == labels[REVISION_LABEL]:
        loud(f"{tag} stays version {said.get(VERSION_LABEL)}, the first published of that commit")
        return False
    raise ToolError(
        f"{target.repository}:{tag} is there already with other content "
        f"({found.digest}, not {index.digest}); it never changes, so give this tree a "
        "version of its own"
    )


def _moves(tag: str, found: Blob, version: str, repository: Repository) -> bool:
    """Whether a moving tag that means ``found`` goes forward to ``version``."""
    current = found.json.get("annotations", {}).get(VERSION_LABEL)
    if current is None:
        raise ToolError(
            f"{repository}:{tag} means something that was not published by this "
            f"project ({found.digest}); remove that tag first"
        )
    if not is_newer(version, current):
        loud(f"{tag} stays at version {current}, which is not older than {version}")
        return False
    return True


def verify(reference: str, built: Built, release: Release, suites: Sequence[str]) -> None:
    """Pull one platform's image back by its digest and run the suites on it.

    Raises ToolError when it does not come back, cannot run here, or does not pass.
    """
    say(f"testing {built.platform}: {reference}")
    pull = ["pull", "--quiet", "--platform", built.platform, reference]
    ask_docker(pull, failed=f"{reference} does not come back", timeout=_PUSH_TIMEOUT)
    try:
        if built.platform in release.untested:
            loud(f"{built.platform} goes untested, as --allow-untested says; short tags stay put")
            return
        _must_run(reference, built.platform)
        run_suites(reference, suites, emulated=is_emulated(built.platform))
    finally:
        run_docker(["image", "rm", "--no-prune", reference], timeout=60)


def _must_run(reference: str, platform: str) -> None:
    """Raise ToolError when this machine cannot run an image of a platform at all."""
    probe = ["run", "--rm", "--network", "none", "--platform", platform, reference, "--version"]
    ran = run_docker(probe, timeout=120)
    if ran.returncode != 0 and "exec format error" in (ran.stdout + ran.stderr).lower():
        raise ToolError(
            f"this machine cannot run {platform}, so the image cannot be tested: publish where it "
            "can be (natively, or with qemu-user registered), or give it its long tags untested "
            f"with --allow-untested {platform}"
        )


def set_name(target: Registry, tag: str, index: Blob) -> None:
    """Make ``tag`` mean the index; raises ToolError when it does not afterwards."""
    repository = target.repository
    named = run_docker(
        [
            *("buildx", "imagetools", "create"),
            *("--tag", f"{repository}:{tag}", f"{repository}@{index.digest}"),
        ],
        timeout=_NAME_TIMEOUT,
    )
    found = target.manifest(tag) if named.returncode == 0 else None
    if found is None or found.digest != index.digest:
        raise ToolError(
            f"cannot name {repository}:{tag}: {named.stderr.strip()}; what was tested stays in "
            "the registry, run the same command again to go on"
        )
    say(f"named {repository}:{tag}")


def report(release: Release, pushed: Sequence[Pushed], index: Blob, repository: Repository) -> None:
    """Print what is in the registry, with what pulling each platform takes."""
    say(f"{repository}@{index.digest}")
    table(
        [
            [
                each.built.platform,
                round(compressed_size(each.manifest) / 1e6, 1),
                each.manifest.digest,
            ]
            for each in pushed
        ],
        header=["platform", "compressed MB", "digest"],
    )
    say(f"names: {', '.join(release.names.all)}")
