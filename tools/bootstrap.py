"""A Debian base image made from the package archive, for where no registry can be reached."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.apt import DEBIAN_KEYRING, run_apt, target_sites
from tools.cache import cache_dir, locked
from tools.catalog import BootstrapOrigin
from tools.console import say
from tools.docker_client import run_docker
from tools.engine import read_distribution
from tools.errors import ToolError
from tools.processes import run_bounded
from tools.web import Unreachable

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
#: The image must not keep them, nor the lists and logs of its making.
_CLEANUP = 'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/var/log/*.log "$1"/var/log/apt/*'

#: What apt says when a mirror was not reached.
_NO_ANSWER = re.compile(
    r"Could not resolve|Temporary failure resolving|Could not connect|Connection failed"
    r"|Connection (?:refused|reset|timed out)|Unable to connect|No route to host"
    r"|Network is unreachable|TLS connection|Certificate verification|handshake"
    r"|\b(?:408|429|50[0234])  "
)


def bootstrap_base(origin: BootstrapOrigin) -> str:
    """Return the local tag of the bootstrapped base image, made unless the engine has it.

    Raises Unreachable when the archive does not answer,
    and ToolError when it cannot be made here.
    """
    tag = local_tag(origin)
    with locked(tag):
        inspected = run_docker(["image", "inspect", "--format", "{{.Created}}", tag], timeout=60)
        if inspected.returncode == 0:
            say(f"base image {tag} is there, made {inspected.stdout[:10]} (`docker rmi` renews it)")
            return tag
        _require_mmdebstrap()
        folder = cache_dir() / "bootstrap"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            archive = Path(name) / "base.tar"
            say(f"bootstrapping Debian {origin.suite} from the package archive (half a minute)")
            _bootstrap(origin, archive)
            _import(archive, tag)
    return tag


def local_tag(origin: BootstrapOrigin) -> str:
    """Return the tag of the bootstrapped image, which another recipe would not have."""
    recipe = [origin.suite, origin.include, _DPKG_OPTIONS, _CLEANUP, _RELEASE_LABEL]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    return f"{_TAG}:{origin.suite}-{digest[:12]}"


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


def _bootstrap(origin: BootstrapOrigin, archive: Path) -> None:
    command = [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(origin.include)}",
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        *(f"--aptopt={option}" for option in _APT_OPTIONS),
        f"--customize-hook={_CLEANUP}",
        origin.suite,
        str(archive),
        *_sources(origin.suite),
    ]
    try:
        result = run_bounded(
            command, timeout=_BOOTSTRAP_TIMEOUT, environment={**os.environ, "LC_ALL": "C"}
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"the Debian archive took over {_BOOTSTRAP_TIMEOUT} s") from None
    if result.code != 0:
        raise bootstrap_failure(result.stderr)


def bootstrap_failure(stderr: str) -> ToolError:
    """Turn what mmdebstrap and apt said into the exception that it means."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in lines:
        fetched, _, address_and_reason = line.partition("E: Failed to fetch ")
        if not fetched and _NO_ANSWER.search(address_and_reason):
            return Unreachable(address_and_reason)
    return ToolError("mmdebstrap failed:\n" + "\n".join(lines[-10:]))


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


def _import(archive: Path, tag: str) -> None:
    """Load the tree into the engine; it appears under its tag as a whole or not at all."""
    changes = ['CMD ["bash"]', f'LABEL {_RELEASE_LABEL}="{_point_release(archive)}"']
    arguments = [argument for change in changes for argument in ("--change", change)]
    imported = run_docker(["import", *arguments, str(archive), tag], timeout=600)
    if imported.returncode != 0:
        raise ToolError(f"the engine did not take the base image: {imported.stderr.strip()}")


def _point_release(archive: Path) -> str:
    """Return the release that the tree says it is, such as 13.4."""
    with tarfile.open(archive) as members:
        content = members.extractfile("./etc/debian_version")
        return content.read().decode().strip() if content else "unknown"
