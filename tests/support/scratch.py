"""A checkout of a test's own: other facts, other folders, and the verbs as a person types them."""

from __future__ import annotations

import random
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

import noxfile
from tests.support.git_server import git
from tools.chart.facts import FILE as CHART_FACTS
from tools.chart.facts import chart_facts
from tools.common.processes import run_bounded
from tools.engine.compose import Compose
from tools.engine.docker import run_docker
from tools.facts.images import GitOrigin, ImageOrigin, load_images
from tools.facts.models import load_models
from tools.facts.paths import MONITORING_COMPOSE_FILE, ROOT
from tools.images.monitoring import with_images
from tools.serving.profile import clean_environment
from tools.weights.hub import HubFile

#: Variables of whoever runs the tests that would lead the verbs elsewhere.
_SETTINGS = ("HF_", "COMPOSE_", "SOURCE_DATE_EPOCH")


@dataclass(frozen=True)
class Facts:
    """What a scratch clone's fact files say of the first origins, instead of the checkout's."""

    source: GitOrigin
    base: ImageOrigin
    cuda_devel: ImageOrigin
    cuda_runtime: ImageOrigin
    #: Of compose/monitoring, in the catalogue's order.
    monitoring: tuple[ImageOrigin, ...]
    #: Each model's files, by the model's name and their own.
    models: Mapping[str, Mapping[str, HubFile]]


@dataclass(frozen=True)
class Ran:
    """How a verb ended, and what it said: nox puts both of its streams into one."""

    code: int
    said: str

    @property
    def loud(self) -> list[str]:
        """The lines that say that something is not as preferred."""
        return [line for line in self.said.splitlines() if line.startswith("!!")]

    @property
    def error(self) -> str:
        """What the verb says of its failure, which may have several lines; empty without any."""
        # nox has the last word.
        found = re.search(r"^error: (.*?)\n+nox > ", self.said, re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else ""


@dataclass(frozen=True)
class Scratch:
    """A clone of the checkout, and the variables with which its verbs run."""

    folder: Path
    #: What images.toml calls local images in this clone, and compose the project of `up`.
    name: str
    variables: Mapping[str, str]

    @property
    def commit(self) -> str:
        """The commit that is checked out."""
        return git(self.folder, "rev-parse", "HEAD")

    @property
    def url(self) -> str:
        """Where `nox -s up` serves."""
        return f"http://127.0.0.1:{self.variables['JINA_PORT']}"

    def nox(self, verb: str, *options: str, timeout: float = 600, **variables: str) -> Ran:
        """Run ``nox -s VERB -- OPTIONS`` with further variables; ``timeout`` is in seconds.

        Raises subprocess.TimeoutExpired when it takes longer.
        """
        command = [sys.executable, "-m", "nox", "--session", verb, "--", *options]
        return self.run(command, timeout=timeout, **variables)

    def run(self, command: Sequence[str], *, timeout: float, **variables: str) -> Ran:
        """Run any command in the clone as :meth:`nox` does."""
        environment = {**self.variables, **variables}
        result = run_bounded(command, timeout=timeout, environment=environment, folder=self.folder)
        return Ran(result.code, f"{result.stdout}\n{result.stderr}")

    def write(self, facts: Facts) -> None:
        """Let the fact files say ``facts``; nothing is committed."""
        write_facts(self.folder, facts, self.name)

    def commit_all(self) -> None:
        """Commit every change."""
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", "scratch")


@contextmanager
def scratch_clone(folder: Path, facts: Facts, hub_url: str) -> Iterator[Scratch]:
    """Yield a clone of the checkout, as it is now, that has committed ``facts``.

    Whatever its verbs leave in the engine is removed at the end.
    """
    clone = folder / "clone"
    name = f"jina-embeddings-v5-rehearsal-{secrets.token_hex(4)}"
    _clone(clone)
    _link_environment(clone)
    scratch = Scratch(clone, name, _variables(folder, name, hub_url))
    scratch.write(facts)
    scratch.commit_all()
    try:
        yield scratch
    finally:
        try:
            Compose(project=name).down()
        finally:
            listed = run_docker(["image", "ls", "--format", "{{.Tag}}", name], timeout=60)
            local = [f"{name}:{tag}" for tag in listed.stdout.split()]
            run_docker(["image", "rm", "--no-prune", *local, facts.base.pinned], timeout=60)


def _clone(folder: Path) -> None:
    """Clone the checkout with the changes that no commit holds yet."""
    git(folder.parent, "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in listed.split("\0"):
        # A file that was deleted is listed until that is committed.
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def _link_environment(clone: Path) -> None:
    """Spare the clone an environment of its own where it would be this one over again.

    Where it would not, nox makes one there, which takes a minute.
    """
    stamp = Path(sys.prefix) / noxfile.STAMP
    if stamp.is_file() and stamp.read_text() == noxfile.stamp():
        link = clone / noxfile.ENVIRONMENT.relative_to(ROOT)
        link.parent.mkdir(parents=True)
        link.symlink_to(sys.prefix)


def _free_port() -> int:
    """Return a port on which nobody listens, and which no other program gets by chance.

    It is below those that the kernel gives to who asks for any.
    """
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _variables(folder: Path, name: str, hub_url: str) -> dict[str, str]:
    kept = {
        key: value for key, value in clean_environment().items() if not key.startswith(_SETTINGS)
    }
    return {
        **kept,
        "JINA_CACHE_DIR": str(folder / "cache"),
        "JINA_PORT": str(_free_port()),
        "COMPOSE_PROJECT_NAME": name,
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(folder / "huggingface"),
        # Proxies are for the outside world.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def write_facts(folder: Path, facts: Facts, name: str) -> None:
    """Rewrite a checkout's fact files: ``facts``, and the ``name`` of local images."""
    path = folder / "images" / "images.toml"
    images: Any = tomlkit.parse(path.read_text(encoding="utf-8"))
    images["repository"] = name
    first = images["llama_cpp"][0]
    assert first["kind"] == "git"
    for key in ("repository", "commit", "branch"):
        first[key] = getattr(facts.source, key)
    cuda = images["cuda"][0]
    for table, origin in (
        (images["base"][0], facts.base),
        (cuda["devel"], facts.cuda_devel),
        (cuda["runtime"], facts.cuda_runtime),
    ):
        assert table["kind"] == "image"
        table["reference"], table["digest"] = origin.reference, origin.digest
    for table, origin in zip(images["monitoring"], facts.monitoring, strict=True):
        table["reference"], table["digest"] = origin.reference, origin.digest
    path.write_text(tomlkit.dumps(images), encoding="utf-8")
    compose = folder / MONITORING_COMPOSE_FILE.relative_to(ROOT)
    text = compose.read_text(encoding="utf-8")
    compose.write_text(with_images(text, load_images(path)), encoding="utf-8")

    path = folder / "models" / "models.toml"
    models: Any = tomlkit.parse(path.read_text(encoding="utf-8"))
    for model, files in facts.models.items():
        for file in models["models"][model]["files"].values():
            found = files[file["name"]]
            file["bytes"], file["sha256"] = found.size, found.sha256
    path.write_text(tomlkit.dumps(models), encoding="utf-8")
    chart = folder / CHART_FACTS.relative_to(ROOT)
    chart.write_text(chart_facts(load_models(path)), encoding="utf-8")
