"""Which Debian packages are in an image, read from it without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from debian import deb822

from tools.common.files import temporary_folder
from tools.engine.docker import ask_docker, run_docker

#: Where dpkg keeps what is installed, and what the distribution says of itself
#: (man dpkg(1), os-release(5)).
_STATUS = "/var/lib/dpkg/status"
_RELEASE = "/usr/lib/os-release"


@dataclass(frozen=True)
class Package:
    """One installed package, and the source package that it was made from."""

    name: str
    version: str
    architecture: str
    source: str
    maintainer: str


@dataclass(frozen=True)
class Installed:
    """The packages of an image, and the distribution that they are from."""

    distribution: str  # such as debian
    release: str  # such as trixie
    packages: tuple[Package, ...]


def parse_status(text: str) -> tuple[Package, ...]:
    """Return the installed packages in dpkg's status file, in the order of their names."""
    found = [
        Package(
            name=entry["Package"],
            version=entry["Version"],
            architecture=entry["Architecture"],
            source=_source(entry),
            maintainer=entry["Maintainer"],
        )
        for entry in deb822.Deb822.iter_paragraphs(text.splitlines(), use_apt_pkg=False)
        if entry["Status"].split()[-1] == "installed"
    ]
    return tuple(sorted(found, key=lambda package: (package.name, package.architecture)))


def _source(entry: Mapping[str, str]) -> str:
    """Return the source package and its version: what is left out is the same as the package's."""
    name, _, version = entry.get("Source", entry["Package"]).partition(" ")
    return f"{name} {version.strip('()') or entry['Version']}"


def parse_release(text: str) -> tuple[str, str]:
    """Return the distribution and its release from an os-release file."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    values = {key: value.strip('"') for key, value in fields.items()}
    return values["ID"], values.get("VERSION_CODENAME") or values["VERSION_ID"]


def installed_packages(image: str) -> Installed:
    """Return what is installed in a local image of any platform.

    Raises ToolError when the engine cannot read it, or it is no Debian or Ubuntu.
    """
    create = ["create", "--network", "none", image]
    container = ask_docker(create, failed=f"cannot open {image}")
    try:
        distribution, release = parse_release(_copied(container, _RELEASE))
        return Installed(distribution, release, parse_status(_copied(container, _STATUS)))
    finally:
        run_docker(["rm", container], timeout=60)


def _copied(container: str, path: str) -> str:
    with temporary_folder() as folder:
        target = folder / "file"
        copy = ["cp", f"{container}:{path}", str(target)]
        ask_docker(copy, failed=f"no {path} in the image, so its packages are not known")
        return target.read_text(encoding="utf-8")
