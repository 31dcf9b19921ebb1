"""A profile booted in a container or as a process: the same tests judge both."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.containers import inspect, logs
from tools.facts.models import Model
from tools.facts.paths import CUDA_COMPOSE_FILE
from tools.native.build import find_build
from tools.native.server import native_booted
from tools.serving.profile import booted

#: "sanitized" is native, too: the build that `nox -s native -- build cpu-sanitized` makes.
RUNTIMES = ("container", "native", "sanitized")

#: Settings of a server that leaves a GPU alone, whichever binary it is.
CPU_ONLY = {"LLAMA_ARG_DEVICE": "none"}
#: Its log says what went where. The second name is that of the fork's age.
TALKATIVE = {"LLAMA_ARG_LOG_VERBOSITY": "4", "LLAMA_LOG_VERBOSITY": "4"}


@dataclass(frozen=True)
class Booted:
    """A healthy server: where it answers, its log, and its process as this machine numbers it.

    ``container`` is the id of the one that it runs in; None of a native one.
    """

    base_url: str
    log: Callable[[], str]
    pid: int
    container: str | None


def compiled_for(flags: str) -> set[int]:
    """The GPU architectures that a native build has machine code for, by its cmake flags."""
    values = re.search(r"-DCMAKE_CUDA_ARCHITECTURES=(\S+)", flags)
    assert values, f"no architectures in {flags}"
    # "90-real" is machine code, "90" that and PTX; a build of ours has no PTX alone.
    return {int(each) for each in re.findall(r"\d+", values.group(1))}


@dataclass(frozen=True)
class Runtime:
    """How profiles are booted: as containers of ``image``, or natively where there is none."""

    flavour: str
    image: str | None

    @contextmanager
    def boot(
        self,
        model: Model,
        file: Path,
        *,
        gpu: bool,
        synthetic: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[Booted]:
        """Boot ``model`` on ``file``, with compose/cuda.yaml where ``gpu``.

        ``settings`` are further variables of the server. Raises ToolError as the tools do.
        """
        with tempfile.TemporaryDirectory() as folder:
            more = Path(folder) / "settings.yaml"
            # JSON is YAML.
            services = {model.name: {"environment": dict(settings or {})}}
            more.write_text(json.dumps({"services": services}), encoding="utf-8")
            overrides = [*([CUDA_COMPOSE_FILE] if gpu else []), more]
            if self.image is not None:
                with booted(
                    model, file, image=self.image, synthetic=synthetic, overrides=overrides
                ) as running:
                    container = running.container_id
                    pid = inspect(container)["State"]["Pid"]
                    yield Booted(running.base_url, lambda: logs(container), pid, container)
            else:
                server = find_build(self.flavour).server
                with native_booted(
                    server, model, file, synthetic=synthetic, overrides=overrides
                ) as native:
                    yield Booted(native.base_url, native.log, native.process.pid, None)
