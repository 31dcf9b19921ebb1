"""What stands around a rehearsal of ci.yml: a scratch repository, a runner's programs, a report."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import tomlkit

from tests.contract.checks import elasticsearch
from tests.support.git_server import git
from tests.support.registry import PASSWORD, USER, LocalRegistry
from tests.support.scratch import Scratch
from tests.support.workflow.run import Job
from tools.chart.facts import FILE as CHART_FACTS
from tools.common.console import say
from tools.engine.docker import run_docker
from tools.facts.models import load_models
from tools.facts.paths import IMAGES_FILE, MODELS_FILE, ROOT
from tools.registry.manifests import INDEX

#: The branch of the scratch repository with the project's own facts.
PROJECT = "project"

#: Variables of this machine that a runner has in its own way: how indexes and the engine are
#: reached. Everything else of whoever runs the rehearsal stays outside.
_KEPT = re.compile(
    r"LANG|PIP_\w+|DOCKER_HOST|(?i:https?_proxy|no_proxy)|\w+_CA_BUNDLE|SSL_CERT_\w+|GIT_SSL_\w+"
)
#: A runner's user may do everything, and so may root here. What is to be installed is looked for
#: and not installed: the machine is left as it is.
_SUDO = """#!/bin/sh -e
if [ "$1 $2" = "apt-get install" ]; then
    shift 2
    exec apt-get install --simulate "$@"
fi
exec "$@"
"""

#: The checks that synthetic weights cannot pass where they are served as the real ones: the numbers
#: are those of a model card, or the searches share no telling word with what they must find.
ONLY_REAL = (
    "model_card_similarities",
    "searches",
    *(check.name for check in elasticsearch.CHECKS),  # they search as `searches` does
)


def prepare(scratch: Scratch) -> None:
    """Let the clone's main build cpu for linux/amd64 only, and `project` keep the facts.

    The unit tests hold the facts to everything that names them, so the facts of a rehearsal fail
    them, as they must: the jobs with such tests get the tree without them.
    """
    git(scratch.folder, "checkout", "--quiet", "-B", PROJECT)
    for file in (IMAGES_FILE, MODELS_FILE, CHART_FACTS):
        shutil.copyfile(file, scratch.folder / file.relative_to(ROOT))
    scratch.commit_all()
    git(scratch.folder, "checkout", "--quiet", "-B", "main", "HEAD~1")
    path = scratch.folder / IMAGES_FILE.relative_to(ROOT)
    images: Any = tomlkit.parse(path.read_text(encoding="utf-8"))
    images["images"]["cpu"]["platforms"] = ["linux/amd64"]
    path.write_text(tomlkit.dumps(images), encoding="utf-8")
    scratch.commit_all()


def environment(folder: Path, hub_url: str) -> dict[str, str]:
    """Return a runner's variables, and make its programs in ``folder``."""
    programs = folder / "programs"
    programs.mkdir()
    sudo = programs / "sudo"
    sudo.write_text(_SUDO)
    sudo.chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)},
        "PATH": f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HF_ENDPOINT": hub_url,
        # By itself virtualenv looks for newer packages in a process that outlives the job.
        "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
        # Proxies are for the outside world.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def without_only_real() -> dict[str, str]:
    """Return the variable that takes from pytest what synthetic weights cannot pass."""
    models = load_models()
    test = "tests/contract/test_contract.py::test_contract"
    names = [
        f"--deselect={test}[{model}-{models.default_quantisation}-{check}]"
        for model in models.models
        for check in ONLY_REAL
    ]
    return {"PYTEST_ADDOPTS": " ".join(names)}


def remove_images(scratch: Scratch, base: str) -> None:
    """Remove the images that a job left, and the base, as with the runner."""
    listed = run_docker(["image", "ls", "--format", "{{.Tag}}", scratch.name], timeout=60)
    local = [f"{scratch.name}:{tag}" for tag in listed.stdout.split()]
    run_docker(["image", "rm", "--no-prune", *local, base], timeout=60)


def report(job: Job) -> None:
    """Say how each part of a job went, and how long it took."""
    for part in job.parts:
        say(f"{part.result:>12} {part.seconds:5.0f} s  {part.name}  {part.why}".rstrip())


def failures(jobs: Mapping[str, Job]) -> str:
    """Return the end of the log of every part that failed."""
    return "\n".join(_ends(jobs))


def _ends(jobs: Mapping[str, Job]) -> Iterator[str]:
    for job in jobs.values():
        for part in job.parts:
            if part.why and part.log is not None:
                lines = part.log.read_text(encoding="utf-8", errors="replace").splitlines()
                yield "\n".join([f"=== {part.name}: {part.why}", *lines[-60:]])


def published(registry: LocalRegistry, name: str) -> dict[str, str]:
    """Return the digest of every tag that a repository of the registry has."""
    with httpx.Client(
        base_url=f"http://{registry.host}/v2/{name}/", auth=(USER, PASSWORD), trust_env=False
    ) as client:
        tags = client.get("tags/list").raise_for_status().json()["tags"]
        asked = {"Accept": f"{INDEX}, */*"}
        heads = {tag: client.head(f"manifests/{tag}", headers=asked) for tag in tags}
    return {tag: head.headers["Docker-Content-Digest"] for tag, head in heads.items()}
