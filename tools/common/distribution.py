"""The host's distribution."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from packaging.version import Version


@dataclass(frozen=True)
class Distribution:
    """The host's distribution, from /etc/os-release; empty strings elsewhere."""

    id: str
    version: str
    codename: str


def read_distribution() -> Distribution:
    """Return the host's distribution (freedesktop.org os-release)."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return Distribution("", "", "")
    return Distribution(
        release.get("ID", ""), release.get("VERSION_ID", ""), release.get("VERSION_CODENAME", "")
    )


def needs_newer_release(distribution: Distribution) -> bool:
    """Say whether Debian's own packages are too old, so that those of trixie are taken.

    Debian 12 has docker.io 20.10. The ones of trixie need only libc6 >= 2.34 (Debian 12 has
    2.36), except runc, which therefore stays Debian 12's own.
    """
    return distribution.id == "debian" and Version(distribution.version or "0") < Version("13")
