"""Containers of arm64 on a machine of another kind: QEMU's user emulation, known to the kernel."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from tests.support.cpu_variants import platform_of_machine
from tests.support.requirements import need
from tools.common.apt import run_apt
from tools.common.cache import cache_dir, locked
from tools.common.errors import ToolError
from tools.engine.docker import run_docker
from tools.facts.images import load_images, local_name

ARM64 = "linux/arm64"
#: An ARM machine runs what is for it as the CPU that it is.
EMULATED = platform_of_machine(platform.machine()) != ARM64

#: Debian's static build, so that it runs in any container.
PACKAGE = "qemu-user-static"
QEMU = Path("/usr/bin/qemu-aarch64-static")
#: The kernel's interface (docs.kernel.org/admin-guide/binfmt-misc.html).
BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = BINFMT / "jina-test-arm64"
#: What an executable of arm64 begins with, as QEMU's scripts/qemu-binfmt-conf.sh has it: an ELF
#: file of 64 bits, little-endian, of any system, executable or shared, for machine 0xb7. With F
#: the kernel opens QEMU now; a container need not have it.
MAGIC = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
RULE = f":{ENTRY.name}:M::{MAGIC}:{MASK}:{QEMU}:F"

#: What is noted, for the last to use it, where the interface had to be mounted.
MOUNTED = "mounted"


def runs(image: str) -> bool:
    """Whether a program of this arm64 image can be run here."""
    run = ["run", "--rm", "--platform", ARM64, "--network", "none"]
    return run_docker([*run, "--entrypoint", "/bin/true", image], timeout=60).returncode == 0


@contextmanager
def runnable(image: str) -> Iterator[None]:
    """Let the kernel run this arm64 image's programs, with QEMU where it needs that.

    The kernel is left as it was by the last process that needs it so: tests run in several. QEMU
    is installed where it is missing. Raises ToolError where either is not allowed.
    """
    users = cache_dir() / "locks" / f"{ENTRY.name}.users"
    users.parent.mkdir(parents=True, exist_ok=True)
    with users.open("a") as use:
        with locked(ENTRY):
            needed = ENTRY.exists() or not runs(image)
            if needed:
                if not ENTRY.exists():
                    use.truncate(0)
                    use.write(MOUNTED if register() else "")
                    use.flush()
                fcntl.flock(use, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if needed:
                with locked(ENTRY):
                    if no_other_uses(use):
                        unregister(unmount=users.read_text() == MOUNTED)


def no_other_uses(use: TextIO) -> bool:
    """Give up a shared lock; whether nobody else has one."""
    try:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(use, fcntl.LOCK_UN)
        return False
    return True


def register() -> bool:
    """Name QEMU to the kernel; whether its interface had to be mounted for that."""
    if os.geteuid() != 0 or not BINFMT.is_dir():
        raise ToolError(f"only root on Linux can register {QEMU} with the kernel")
    if not QEMU.exists():
        if shutil.which("apt-get") is None:
            raise ToolError(f"there is no {QEMU}; install Debian's {PACKAGE}")
        run_apt(["update"])
        run_apt(["install", "--yes", "--no-install-recommends", PACKAGE])
    mount = not (BINFMT / "register").exists()
    if mount:
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    try:
        (BINFMT / "register").write_text(RULE)
    except OSError:
        if mount:
            subprocess.run(["umount", str(BINFMT)], check=True)
        raise
    return mount


def unregister(*, unmount: bool) -> None:
    """Let the kernel forget QEMU."""
    ENTRY.write_text("-1")
    if unmount:
        subprocess.run(["umount", str(BINFMT)], check=True)


@contextmanager
def arm64_image(config: pytest.Config) -> Iterator[str]:
    """Yield the name of the cpu image for arm64 on a machine that can run it; skip elsewhere."""
    images = load_images()
    name = local_name(images, images.images["cpu"], ARM64 if EMULATED else None)
    found = run_docker(["image", "inspect", name], timeout=30).returncode == 0
    why = f"no image {name}; `nox -s build -- cpu --platform {ARM64}` makes it"
    need(config, "arm64", available=found, why=why)
    with ExitStack() as stack:
        try:
            stack.enter_context(runnable(name))
        except ToolError as error:
            need(config, "arm64", available=False, why=str(error))
        yield name
