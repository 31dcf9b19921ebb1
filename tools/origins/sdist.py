"""llama.cpp's source inside a Python source distribution, from the index that pip is set to."""

from __future__ import annotations

import ast
import os
import re
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
from packaging.utils import canonicalize_name
from packaging.version import Version
from pypi_simple import (
    ACCEPT_ANY,
    PYPI_SIMPLE_ENDPOINT,
    DistributionPackage,
    ProjectPage,
    UnsupportedRepoVersionError,
)

from tools.common.cache import cache_dir, locked
from tools.common.console import loud
from tools.common.downloads import download
from tools.common.errors import ToolError
from tools.common.processes import run_bounded
from tools.common.web import Refused, Unreachable, client, get
from tools.facts.images import SdistOrigin
from tools.origins.trees import unpack


def fetch_sdist(origin: SdistOrigin) -> Path:
    """Return the folder with the source, downloaded and unpacked unless the cache has it.

    The hash is the catalogue's, whatever the index says. Raises Unreachable when no index
    answers, and ToolError when those that do lack the file or have another one.
    """
    tree = cache_dir() / "sources" / origin.sha256
    with locked(tree):
        if not tree.exists():
            archive = cache_dir() / "downloads" / f"{origin.project}-{origin.version}.tar.gz"
            settings = pip_settings()
            ca_file = settings.get("cert")
            url = _find(origin, pip_indexes(settings), ca_file)
            download(url, archive, sha256=origin.sha256, size=origin.bytes, ca_file=ca_file)
            top = f"{origin.project.replace('-', '_')}-{origin.version}"
            with archive.open("rb") as content:
                unpack(content, f"{top}/{origin.folder}", tree)
            archive.unlink()
    return tree


def newest_sdist(origin: SdistOrigin) -> SdistOrigin:
    """Return the origin as it would be pinned to its project's newest final release.

    A newer archive than the pinned one is downloaded, to read which llama.cpp it holds: these
    archives carry the git folder of the checkout that they were made from. One that does not is
    left out, loudly. Raises Unreachable when an index does not answer, and ToolError when none
    has the project or says the file's hash and size.
    """
    settings = pip_settings()
    ca_file = settings.get("cert")
    index, package = _newest(origin.project, pip_indexes(settings), ca_file)
    version, sha256 = str(package.version), package.digests.get("sha256", "")
    if Version(version) <= Version(origin.version):
        return origin
    if not sha256 or package.size is None:
        raise ToolError(
            f"{httpx.URL(index).host} does not say the hash and the size of {package.filename}, "
            "which a pin needs; name an index that does with PIP_INDEX_URL"
        )
    archive = cache_dir() / "downloads" / package.filename
    url = _with_credentials(package.url, index)
    download(url, archive, sha256=sha256, size=package.size, ca_file=ca_file)
    try:
        commit = _checked_out(archive, origin.folder)
    finally:
        archive.unlink()
    if commit is None:
        loud(
            f"{package.filename} does not say which commit of {origin.folder} it holds, so "
            f"{origin.name} stays; its change log may say it, for a pin by hand"
        )
        return origin
    return replace(
        origin,
        name=f"pypi-{version}",
        commit=commit,
        version=version,
        bytes=package.size,
        sha256=sha256,
    )


def _newest(
    project: str, indexes: Sequence[str], ca_file: str | None
) -> tuple[str, DistributionPackage]:
    """Return the newest final release's source distribution, and the index that has it."""
    found = []
    with client(ca_file) as http:
        for index in indexes:
            for package in _packages(http, index, project):
                if package.package_type == "sdist" and not package.is_yanked:
                    version = Version(str(package.version))
                    if not version.is_prerelease:
                        found.append((version, index, package))
    if not found:
        hosts = ", ".join(httpx.URL(index).host for index in indexes)
        raise ToolError(f"{hosts} has no source distribution of {project}")
    _, index, package = max(found, key=lambda each: each[0])
    return index, package


def _checked_out(archive: Path, folder: str) -> str | None:
    """Return the commit of the submodule ``folder`` in the archive, from its git folder's HEAD."""
    with tarfile.open(archive) as members:
        for member in members:
            if member.name.partition("/")[2] == f".git/modules/{folder}/HEAD":
                head = members.extractfile(member)
                commit = head.read(41).decode("ascii", "replace").strip() if head else ""
                if re.fullmatch("[0-9a-f]{40}", commit):
                    return commit
    return None


def _find(origin: SdistOrigin, indexes: Sequence[str], ca_file: str | None) -> str:
    """Return the address of the file on the first of the indexes that has it."""
    unreachable = []
    with client(ca_file) as http:
        for index in indexes:
            try:
                packages = _packages(http, index, origin.project)
            except Unreachable as error:
                unreachable.append(str(error))
                continue
            for package in packages:
                if package.package_type == "sdist" and package.version == origin.version:
                    return _with_credentials(package.url, index)
    if unreachable:
        raise Unreachable("; ".join(unreachable))
    hosts = ", ".join(httpx.URL(index).host for index in indexes)
    raise ToolError(
        f"the package index that pip is set to ({hosts}) has no source distribution of "
        f"{origin.project} {origin.version}; name another with PIP_INDEX_URL"
    )


def _packages(http: httpx.Client, index: str, project: str) -> list[DistributionPackage]:
    """Return the files of a project on one index; none where it does not have the project."""
    page = f"{index.rstrip('/')}/{canonicalize_name(project)}/"
    try:
        response = get(http, page, {"Accept": ACCEPT_ANY})
    except Refused as error:
        if error.status == 404:
            return []
        raise
    base = str(response.url)
    try:
        if "json" in response.headers.get("Content-Type", ""):
            return ProjectPage.from_json_data(response.json(), base).packages
        return ProjectPage.from_html(project, response.content, base).packages
    except (ValueError, UnsupportedRepoVersionError) as error:
        raise ToolError(f"{response.url.host} is no package index: {error}") from None


def _with_credentials(url: str, index: str) -> str:
    """Carry the user and password of the index over to a file on the same host, as pip does."""
    file, source = httpx.URL(url), httpx.URL(index)
    if (file.host, file.port) == (source.host, source.port) and not file.userinfo:
        return str(file.copy_with(userinfo=source.userinfo))
    return url


def pip_indexes(settings: Mapping[str, str]) -> list[str]:
    """Return the HTTP package indexes that pip is set to, or the public one."""
    main = settings.get("index-url", PYPI_SIMPLE_ENDPOINT)
    extra = settings.get("extra-index-url", "")
    return [url for url in [main, *extra.split()] if url.startswith(("http://", "https://"))]


def pip_settings() -> dict[str, str]:
    """Return those of pip's settings that matter here, as `pip install` would take them.

    Its environment variables come first, then the sections [install] and [global] of its files.
    """
    listed = parse_pip_config(pip_config_listing())
    settings = {}
    for name in ("index-url", "extra-index-url", "cert"):
        value = (
            os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
            or listed.get(f"install.{name}")
            or listed.get(f"global.{name}")
        )
        if value:
            settings[name] = value
    return settings


def parse_pip_config(listing: str) -> dict[str, str]:
    """Return section.key -> value from the lines of `pip config list`: ``global.cert='...'``."""
    settings = {}
    for line in listing.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            settings[key] = str(ast.literal_eval(value))
    return settings


def pip_config_listing() -> str:
    """Return what `pip config list` prints; nothing where this Python has no pip."""
    result = run_bounded([sys.executable, "-m", "pip", "config", "list"], timeout=60)
    return result.stdout if result.code == 0 else ""
