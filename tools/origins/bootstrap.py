"""A Debian base image made from the package archive, for where no registry can be reached."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path

from tools.common.apt import DEBIAN_KEYRING, run_apt, target_sites
from tools.common.cache import cache_dir, locked
from tools.common.console import say
from tools.common.distribution import read_distribution
from tools.common.errors import ToolError
from tools.common.processes import run_bounded
from tools.common.web import Unreachable
from tools.engine.docker import engine_platform, run_docker
from tools.facts.images import BootstrapOrigin
from tools.facts.paths import ROOT
from tools.facts.platforms import architecture

#: How an archive becomes an image, and how one for another platform is made.
_DOCKERFILE = ROOT / "images" / "base.Dockerfile"
_TAG = "jina-embeddings-v5-base"
_RELEASE_LABEL = "jina-embeddings-v5.debian"
_BOOTSTRAP_TIMEOUT = 1800  # seconds

#: As in Debian's own slim images: nothing that only a person at a terminal would read, but every
#: package's copyright. dpkg keeps to it for whatever is installed later.
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
#: Only for the bootstrap: apt waits this long for a silent mirror, and asks it again.
_APT_OPTIONS = (
    'Acquire::http::Timeout "15"',
    'Acquire::https::Timeout "15"',
    'Acquire::Retries "2"',
)
#: The image must not keep them, nor the lists and logs of its making, nor what tells it from
#: another one made of the same packages.
_CLEANUP = (
    'rm -rf "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/var/log/*.log "$1"/var/log/apt/* '
    '"$1"/var/cache/ldconfig'
)
#: The script of ca-certificates only works on the system that it runs on, and this is all that it
#: makes; it is the same on every architecture.
_CERTIFICATES = (
    'cp --archive /etc/ca-certificates.conf "$1"/etc/ && cp --archive /etc/ssl/certs "$1"/etc/ssl/'
)

#: What apt says when a mirror was not reached.
_NO_ANSWER = re.compile(
    r"Could not resolve|Temporary failure resolving|Could not connect|Connection failed"
    r"|Connection (?:refused|reset|timed out)|Unable to connect|No route to host"
    r"|Network is unreachable|TLS connection|Certificate verification|handshake"
    r"|\b(?:408|429|50[0234])  "
)


def bootstrap_base(origin: BootstrapOrigin, platform: str) -> str:
    """Return the local tag of the bootstrapped base image, made unless the engine has it.

    For another ``platform`` than the engine's own it is made inside the engine's own base, which
    is made first. Raises Unreachable when the archive does not answer, and ToolError when it
    cannot be made here.
    """
    tag = local_tag(origin, platform)
    with locked(tag):
        if run_docker(["image", "inspect", tag], timeout=60).returncode == 0:
            say(f"base image {tag} is there (`docker rmi` renews it)")
            return tag
        folder = cache_dir() / "bootstrap"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            archive = Path(name) / "base.tar"
            bootstrap_archive(origin, platform, archive)
            _import(origin, platform, archive, tag)
    return tag


def bootstrap_archive(origin: BootstrapOrigin, platform: str, archive: Path) -> None:
    """Make a tar archive of the base's whole tree; the same packages make the same bytes.

    Raises as :func:`bootstrap_base` does. The archive is to be called base.tar.
    """
    own = engine_platform()
    if platform == own:
        _require_mmdebstrap()
        say(f"bootstrapping Debian {origin.suite} from the package archive (half a minute)")
        _bootstrap(origin, archive)
    else:
        toolbase = bootstrap_base(origin, own)
        say(f"bootstrapping Debian {origin.suite} for {platform} (a minute)")
        _bootstrap_other(origin, platform, toolbase, archive)


def local_tag(origin: BootstrapOrigin, platform: str) -> str:
    """Return the tag of the bootstrapped image, which another recipe would not have."""
    recipe = [*_arguments(origin), _CERTIFICATES, _RELEASE_LABEL, _DOCKERFILE.read_text()]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    return f"{_TAG}:{origin.suite}-{digest[:12]}-{architecture(platform)}"


def _require_mmdebstrap() -> None:
    """Install mmdebstrap where that is ours to do; otherwise say the command."""
    if shutil.which("mmdebstrap") is not None:
        return
    packages = ["mmdebstrap", "debian-archive-keyring"]
    command = ["install", "--yes", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None:
        raise ToolError(
            "making the base image from Debian's archive needs mmdebstrap, which is not installed; "
            "install it, or make a registry reachable and use `--origin registry`"
        )
    if os.geteuid() != 0:
        raise ToolError(
            "making the base image from Debian's archive needs mmdebstrap:\n"
            f"    sudo apt-get {' '.join(command)}"
        )
    say(f"installing {' and '.join(packages)}")
    run_apt(["update"])
    run_apt(command)


def _arguments(origin: BootstrapOrigin) -> list[str]:
    """Return the options of mmdebstrap that make the base what it is on every platform."""
    return [
        "--variant=minbase",
        f"--include={','.join(origin.include)}",
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        *(f"--aptopt={option}" for option in _APT_OPTIONS),
        f"--customize-hook={_CLEANUP}",
    ]


def _source_date(origin: BootstrapOrigin) -> str:
    """Return SOURCE_DATE_EPOCH: nothing is newer, so that the same packages make the same image.

    mmdebstrap and BuildKit follow it (https://reproducible-builds.org/docs/source-date-epoch/).
    """
    midnight = datetime.combine(origin.released, time(), UTC)
    return str(int(midnight.timestamp()))


def _bootstrap(origin: BootstrapOrigin, archive: Path) -> None:
    """Make the base of this machine's own platform with this machine's own mmdebstrap."""
    command = [
        "mmdebstrap",
        *_arguments(origin),
        origin.suite,
        str(archive),
        *_sources(origin.suite),
    ]
    _run(command, {"SOURCE_DATE_EPOCH": _source_date(origin)})


def _bootstrap_other(origin: BootstrapOrigin, platform: str, toolbase: str, archive: Path) -> None:
    """Make the base of another platform, with its packages' scripts run from outside of it.

    See "chrootless" in mmdebstrap(1): it is meant for this, and asks to be run in a system that
    may be damaged, such as a build stage.
    """
    command = [
        "mmdebstrap",
        "--mode=chrootless",
        "--skip=check/chrootless",
        f"--architectures={architecture(platform)}",
        *_arguments(origin),
        f"--customize-hook={_CERTIFICATES}",
        origin.suite,
        "/base.tar",
        "-",
    ]
    context = archive.parent / "context"
    context.mkdir()
    (context / "bootstrap.sh").write_text(shlex.join(command) + "\n", encoding="utf-8")
    # --no-cache: the archive's packages change without anything here changing.
    build = _build_command(origin, platform, "archive")
    context_options = ["--build-context", f"toolbase=docker-image://{toolbase}", "--no-cache"]
    output = f"type=local,dest={archive.parent}"
    _run([*build, *context_options, "--output", output, str(context)])


def _build_command(origin: BootstrapOrigin, platform: str, target: str) -> list[str]:
    return [
        *("docker", "buildx", "build", "--progress", "plain", "--provenance=false"),
        *("--platform", platform, "--file", str(_DOCKERFILE), "--target", target),
        *("--build-arg", f"SOURCE_DATE_EPOCH={_source_date(origin)}"),
    ]


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command that makes a base; its failure becomes the exception that it means."""
    try:
        result = run_bounded(
            command,
            timeout=_BOOTSTRAP_TIMEOUT,
            environment={**os.environ, "LC_ALL": "C", **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"the base image took over {_BOOTSTRAP_TIMEOUT} s") from None
    if result.code != 0:
        raise bootstrap_failure(result.stderr)


def bootstrap_failure(stderr: str) -> ToolError:
    """Turn what mmdebstrap and apt said into the exception that it means."""
    # BuildKit puts the number of the step and the time before each line.
    said = re.sub(r"^#\d+ [\d.]+ ", "", stderr, flags=re.MULTILINE)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        fetched, _, address_and_reason = line.partition("E: Failed to fetch ")
        if not fetched and _NO_ANSWER.search(address_and_reason):
            return Unreachable(address_and_reason)
    return ToolError("the base image could not be made:\n" + "\n".join(lines[-10:]))


def _sources(suite: str) -> list[str]:
    """Return the apt sources for mmdebstrap: the mirrors that this host itself uses.

    None on a host that is not Debian or has no mirror for security updates: mmdebstrap then takes
    the public archive, which includes updates and security.
    """
    if read_distribution().id != "debian":
        return []
    sites = _host_sites()
    if "Debian-Security" not in sites:
        return []
    return source_lines(suite, sites["Debian"], sites["Debian-Security"])


def source_lines(suite: str, archive: str, security: str) -> list[str]:
    """Return the sources.list of a release: itself, its updates and its security updates."""
    options = f"[signed-by={DEBIAN_KEYRING}]"
    return [
        f"deb {options} {archive} {suite} main",
        f"deb {options} {archive} {suite}-updates main",
        f"deb {options} {security} {suite}-security main",
    ]


def _host_sites() -> dict[str, str]:
    """Return the host's archives by label, fetching apt's lists where they were cleaned away."""
    try:
        return target_sites()
    except ToolError:
        if os.geteuid() != 0:
            raise
    run_apt(["update"])
    return target_sites()


def _import(origin: BootstrapOrigin, platform: str, archive: Path, tag: str) -> None:
    """Load the tree into the engine; it appears under its tag as a whole or not at all."""
    label = f"{_RELEASE_LABEL}={_point_release(archive)}"
    build = _build_command(origin, platform, "image")
    _run([*build, "--label", label, "--tag", tag, "--load", str(archive.parent)])


def _point_release(archive: Path) -> str:
    """Return the release that the tree says it is, such as 13.4."""
    with tarfile.open(archive) as members:
        content = members.extractfile("./etc/debian_version")
        return content.read().decode().strip() if content else "unknown"
