"""The host's own apt, so that whichever mirror it is set to is the one that is used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.common.errors import ToolError

#: The keys of the Debian archive, as the package debian-archive-keyring installs them.
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def parse_sites(listing: str) -> dict[str, str]:
    """Return label -> archive address from ``apt-get indextargets`` lines ``label|address``."""
    sites: dict[str, str] = {}
    for line in listing.splitlines():
        label, separator, address = line.partition("|")
        if separator and address:
            sites.setdefault(label, address)
    return sites


def target_sites() -> dict[str, str]:
    """Return the archives that this host's apt is set to, by label (``Debian``, ...).

    Raises ToolError when apt has no Debian archive.
    """
    listing = run_apt(["indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"])
    sites = parse_sites(listing)
    if "Debian" not in sites:
        raise ToolError(
            "this host's apt has no Debian archive configured (no index labelled Debian); "
            "add one to /etc/apt/sources.list and run `apt-get update`"
        )
    return sites


def run_apt(arguments: Sequence[str], *, folder: Path | None = None) -> str:
    """Run ``apt-get ARGUMENTS`` in ``folder`` and return its output.

    Raises ToolError with the end of what apt said when it fails.
    """
    result = subprocess.run(
        ["apt-get", "--quiet", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if result.returncode != 0:
        said = "\n".join((result.stdout + result.stderr).strip().splitlines()[-10:])
        raise ToolError(f"`apt-get {' '.join(arguments)}` failed:\n{said}")
    return result.stdout
