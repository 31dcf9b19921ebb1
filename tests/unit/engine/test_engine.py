"""What the engine verb decides; that it really installs and starts one is seen in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tools.common.apt import parse_sites
from tools.common.distribution import Distribution, needs_newer_release
from tools.common.errors import ToolError
from tools.engine import ensure as engine
from tools.engine import install
from tools.engine.probe import Engine, parse_version

GOOD = Engine(
    client=True,
    server=Version("26.1.5"),
    buildx=Version("0.13.1"),
    compose=Version("2.26.1"),
    server_error="",
)
BOOKWORM = Distribution("debian", "12", "bookworm")
TRIXIE = Distribution("debian", "13", "trixie")
UBUNTU = Distribution("ubuntu", "24.04", "noble")


def without(**changes: Any) -> Engine:
    return replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("26.1.5+dfsg1", "26.1.5"),
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", "0.13.1"),
        ("2.26.1-4", "2.26.1"),
        ("v2.39.4", "2.39.4"),
        ("nothing here", None),
    ],
)
def test_versions_are_read_out_of_what_the_tools_print(text: str, version: str | None) -> None:
    assert parse_version(text) == (Version(version) if version else None)


def test_a_good_engine_has_no_problems() -> None:
    assert GOOD.problems == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (without(client=False, server=None), "there is no docker command"),
        (without(server=None, server_error="refused"), "no Docker Engine answers (refused)"),
        (without(server=Version("20.10.24")), "Docker Engine 20.10.24 is older than 23.0"),
        (without(buildx=None), "docker has no buildx plugin"),
        (without(buildx=Version("0.7.1")), "the buildx plugin 0.7.1 is older than 0.8"),
        (without(compose=None), "docker has no compose plugin"),
        (without(compose=Version("2.21.0")), "the compose plugin 2.21.0 is older than 2.22"),
    ],
)
def test_each_lack_is_said(found: Engine, said: str) -> None:
    assert len(found.problems) == 1
    assert said in found.problems[0]


def test_only_debian_12_takes_packages_of_a_newer_release() -> None:
    assert needs_newer_release(BOOKWORM)
    assert not needs_newer_release(TRIXIE)
    assert not needs_newer_release(UBUNTU)


def test_only_what_is_missing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _, **__: None)
    nothing = Engine(client=False, server=None, buildx=None, compose=None, server_error="")
    assert install.packages_for(TRIXIE, nothing) == [
        "docker.io",
        "docker-cli",
        "containerd",
        "docker-buildx",
        "docker-compose",
    ]
    assert "docker-compose-v2" in install.packages_for(UBUNTU, nothing)
    assert install.packages_for(TRIXIE, without(compose=None)) == ["docker-compose"]
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/usr/sbin/{name}")
    assert install.packages_for(TRIXIE, without(server=None)) == []


def test_upgrades_and_removals_are_seen_in_a_simulation() -> None:
    # Lines as apt-get --simulate prints them; an upgrade has the old version in brackets.
    simulation = (
        "Inst tini (0.19.0-1+b3 Debian:12.15/oldstable [amd64])\n"
        "Inst libc6 [2.36-9] (2.41-12 Debian:13/stable [amd64])\n"
        "Remv podman [4.3.1]\n"
        "Conf tini (0.19.0-1+b3 Debian:12.15/oldstable [amd64])\n"
    )
    assert install.parse_changes(simulation) == ["libc6", "podman"]


def test_an_install_that_would_upgrade_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def apt(arguments: list[str]) -> str:
        asked.append(arguments)
        return "Inst libc6 [2.36-9] (2.41-12 Debian:13/stable [amd64])\n"

    monkeypatch.setattr(install, "run_apt", apt)
    with pytest.raises(ToolError, match="would upgrade or remove libc6; nothing was changed"):
        install._install(["docker.io"])
    assert [arguments[0] for arguments in asked] == ["--simulate"]


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (BOOKWORM, "sudo python3 -m nox -s engine"),
        (TRIXIE, "sudo apt-get install --no-install-recommends docker.io docker-compose"),
        (UBUNTU, "sudo apt-get install --no-install-recommends docker.io docker-compose"),
        (Distribution("fedora", "43", ""), "sudo dnf install moby-engine"),
        (Distribution("slackware", "15", ""), "https://docs.docker.com/engine/install/"),
    ],
)
def test_the_commands_for_the_platform_are_given(distribution: Distribution, expected: str) -> None:
    assert expected in install.manual_commands(distribution, ["docker.io", "docker-compose"])


@pytest.mark.parametrize("install", [True, False])
def test_nothing_is_installed_where_it_may_not_be(
    install: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with --no-install, nor for a user who is not root."""
    monkeypatch.setattr(engine, "probe", lambda: without(compose=None))
    monkeypatch.setattr(engine, "read_distribution", lambda: TRIXIE)
    monkeypatch.setattr(os, "geteuid", lambda: 1000 if install else 0)
    monkeypatch.setattr(engine, "run_apt", lambda *_: pytest.fail("apt was run"))
    with pytest.raises(ToolError, match="docker has no compose plugin") as fault:
        engine.ensure_engine(install=install)
    assert "docker-compose" in str(fault.value)


def test_a_good_engine_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "probe", lambda: GOOD)
    monkeypatch.setattr(engine, "run_apt", lambda *_: pytest.fail("apt was run"))
    assert engine.ensure_engine() == GOOD


def test_stop_leaves_a_process_that_is_not_dockerd_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(engine, "PID_FILE", pid_file)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("something was killed"))
    engine.stop()
    assert not pid_file.exists()


def test_apt_sites_are_read_by_label() -> None:
    listing = (
        "Debian|http://mirror.example/debian/\n"
        "Debian|http://mirror.example/debian/\n"
        "Debian-Security|http://mirror.example/debian-security/\n"
        "|http://unlabelled.example/\n"
    )
    assert parse_sites(listing) == {
        "Debian": "http://mirror.example/debian/",
        "Debian-Security": "http://mirror.example/debian-security/",
        "": "http://unlabelled.example/",
    }


def test_a_process_that_ended_but_was_not_reaped_does_not_count_as_running() -> None:
    """An orphan stays a zombie where process 1 reaps nobody, as in a container."""
    ended = subprocess.Popen(["sh", "-c", "printf dockerd > /proc/self/comm"])
    status = Path(f"/proc/{ended.pid}/status")
    while "State:\tZ" not in status.read_text():
        pass
    try:
        assert not engine._is_dockerd(ended.pid)
    finally:
        ended.wait()


def test_an_engine_that_is_new_enough_is_never_called_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user without rights on Debian 12, with the engine 26.1 that root installed."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    said = "permission denied while trying to connect to the Docker daemon socket"
    refused = without(server=None, server_error=said)
    text = install.advice(refused, BOOKWORM, [])
    assert "too old" not in text
    assert "usermod -aG docker" in text
    assert "nox -s engine" not in text
    lacking = install.advice(without(compose=None), BOOKWORM, ["docker-compose"])
    assert "docker-compose of Debian 13" in lacking
    assert "docker.io" not in lacking


def test_dockerd_is_found_where_a_persons_path_does_not_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []

    def which(_: str, path: str) -> str:
        looked.extend(path.split(os.pathsep))
        return "/usr/sbin/dockerd"

    monkeypatch.setattr(shutil, "which", which)
    monkeypatch.setenv("PATH", "/home/somebody/bin")
    assert install.packages_for(BOOKWORM, without(server=None)) == []
    assert "/usr/sbin" in looked


def test_a_wrong_address_of_the_engine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://nowhere:1")
    text = install.advice(without(server=None, server_error="no such host"), BOOKWORM, [])
    assert "DOCKER_HOST" in text
    assert "apt-get" not in text
