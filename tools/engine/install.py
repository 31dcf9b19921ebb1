"""Install an engine from the distribution's own packages, or say how."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.common.apt import DEBIAN_KEYRING, run_apt, target_sites
from tools.common.console import say
from tools.common.distribution import Distribution, needs_newer_release
from tools.common.errors import ToolError
from tools.common.files import temporary_folder
from tools.engine.probe import Engine

_JOIN_GROUP = "sudo usermod -aG docker $USER   # then log in again"


def packages_for(distribution: Distribution, engine: Engine) -> list[str]:
    """Return the packages that the distribution lacks of ours, for what ``engine`` is missing.

    An engine that is installed is never replaced, only started or completed.
    """
    ubuntu = distribution.id == "ubuntu"
    wanted = []
    # Debian has dockerd where a person's PATH does not lead.
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if shutil.which("dockerd", path=folders) is None and engine.server is None:
        wanted += ["docker.io"] if ubuntu else ["docker.io", "docker-cli", "containerd"]
    if engine.buildx is None:
        wanted.append("docker-buildx")
    if engine.compose is None:
        wanted.append("docker-compose-v2" if ubuntu else "docker-compose")
    return wanted


def parse_changes(simulation: str) -> list[str]:
    """Return the packages that ``apt-get --simulate`` would upgrade or remove."""
    upgraded = re.findall(r"^Inst (\S+) \[", simulation, re.MULTILINE)
    removed = re.findall(r"^Remv (\S+)", simulation, re.MULTILINE)
    return sorted({*upgraded, *removed})


def manual_commands(distribution: Distribution, packages: Sequence[str]) -> str:
    """Return the commands that a person would type on this platform, one a line."""
    start = (
        "sudo systemctl enable --now docker"
        if Path("/run/systemd/system").is_dir()
        else "sudo dockerd &"
    )
    if distribution.id in ("debian", "ubuntu"):
        if packages and needs_newer_release(distribution):
            return "\n".join(
                [
                    f"sudo python3 -m nox -s engine   # {', '.join(packages)} of Debian 13, "
                    "because Debian 12's are too old",
                    _JOIN_GROUP,
                ]
            )
        install = f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
        lines = ["sudo apt-get update", install] if packages else []
        return "\n".join([*lines, start, _JOIN_GROUP])
    if sys.platform == "darwin":
        return "brew install --cask docker && open -a Docker"
    if distribution.id == "fedora":
        names = "moby-engine docker-buildx docker-compose"
        return "\n".join([f"sudo dnf install {names}", start, _JOIN_GROUP])
    return "see https://docs.docker.com/engine/install/ for this platform"


def install_directly(packages: Sequence[str]) -> None:
    """Install ``packages`` from the distribution's own sources."""
    say(f"engine: installing {', '.join(packages)}")
    _install(packages)


def install_from_trixie(packages: Sequence[str]) -> None:
    """Install ``packages`` as trixie has them, through an apt configuration used only here.

    The extra package source lives in a temporary folder and is gone afterwards.
    """
    say(f"engine: downloading {', '.join(packages)} of Debian 13 (Debian 12's are too old)")
    with temporary_folder("jina-engine-") as folder:
        # apt's download helper runs as the user _apt.
        folder.chmod(0o755)
        archives = folder / "archives"
        for needed in (folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
            needed.mkdir(parents=True)
        archives.mkdir()
        site = target_sites()["Debian"]
        source = folder / "sources.list"
        source.write_text(
            f"deb [signed-by={DEBIAN_KEYRING}] {site} trixie main\n", encoding="utf-8"
        )
        options = [
            f"-oDir::Etc::SourceList={source}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::Cache={folder / 'cache'}",
            "-oAPT::Sandbox::User=root",
        ]
        run_apt([*options, "update"])
        run_apt([*options, "download", *packages], folder=archives)
        say("engine: installing them")
        _install([str(path) for path in sorted(archives.glob("*.deb"))])


def _install(packages: Sequence[str]) -> None:
    """Install packages (names or .deb files), refusing to upgrade or remove anything."""
    arguments = ["install", "--yes", "--no-install-recommends", *packages]
    changes = parse_changes(run_apt(["--simulate", *arguments]))
    if changes:
        raise ToolError(
            f"installing {', '.join(packages)} would upgrade or remove {', '.join(changes)}; "
            "nothing was changed. Install a Docker Engine yourself: "
            "https://docs.docker.com/engine/install/"
        )
    run_apt(arguments)


def advice(engine: Engine, distribution: Distribution, packages: Sequence[str]) -> str:
    """Return what is wrong and the commands that mend it."""
    problems = "; ".join(engine.problems)
    if engine.server is None and "DOCKER_HOST" in os.environ:
        return f"{problems}. Correct the variable DOCKER_HOST, or unset it"
    if "permission denied" in engine.server_error:
        return f"{problems}. To mend it:\n    {_JOIN_GROUP}"
    commands = manual_commands(distribution, packages).replace("\n", "\n    ")
    return f"{problems}. To mend it:\n    {commands}"
