"""What the native cuda build does on this machine's GPU, and PyTorch beside it, as Markdown.

Measured as the images are on a CPU: all servers of a model take turns, and must agree first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench.agreement import check
from tools.bench.load import random_inputs, seconds_for
from tools.bench.measure import measure
from tools.bench.peers.known import PYTORCH_FP16_CUDA
from tools.bench.peers.make import make
from tools.bench.peers.ours import OURS, Contender
from tools.bench.peers.process import PORT, booted_process
from tools.bench.peers.servers import MeasuredServer
from tools.bench.report import HEADER, cell_rows, markdown_table
from tools.bench.results import Cell
from tools.bench.workloads import GPU_PLAN
from tools.common.console import say
from tools.common.errors import ToolError
from tools.facts.images import load_images
from tools.facts.models import Model, load_models
from tools.facts.paths import CUDA_COMPOSE_FILE
from tools.images.labels import COMMIT_DIGITS
from tools.native.build import Build, find_build
from tools.native.gpu import Device, process_memory, read_devices
from tools.native.server import native_booted, profile_service
from tools.serving.profile import clean_environment
from tools.weights.hub import models_dir
from tools.weights.recipe import QUANTISATIONS, Quantisation
from tools.weights.synthetic import ensure_synthetic

#: Inputs of the server whose memory is read: as many tokens, as many of them at once.
_TOKENS, _AT_ONCE = 512, 64

MEMORY_HEADER = ("model", "memory", "memory, whole context", "first request")


@dataclass(frozen=True)
class Memory:
    """What one model took on the device, in bytes, and its first request, in seconds.

    ``used`` is what it held after inputs of 512 tokens, and ``in_full`` after one of the model's
    whole context.
    """

    label: str
    used: int
    in_full: int
    first_request: float


def our_process(build: Build, quantisation: Quantisation) -> Contender:
    """Return the native build as the compose profiles run it on a GPU."""

    @contextmanager
    def boot(model: Model, file: Path) -> Iterator[MeasuredServer]:
        service = profile_service(model, file, synthetic=True, overrides=[CUDA_COMPOSE_FILE])
        command = [str(build.server), *service.command, "--port", PORT]
        environment = {**clean_environment(), **service.environment}
        with booted_process(command, environment, "/health") as server:
            yield server

    return Contender(OURS, quantisation, boot)


def read_memory(build: Build, model: Model, quantisation: Quantisation) -> Memory:
    """Boot ``model`` in its true shape on the GPU and read what it takes there.

    Raises ToolError where it does not boot, or the GPU is not used.
    """
    file = ensure_synthetic(models_dir(), model, "full", quantisation)
    before = read_devices()[0].memory_used
    with native_booted(
        build.server, model, file, synthetic=True, overrides=[CUDA_COMPOSE_FILE]
    ) as server:
        inputs = random_inputs(server.base_url, _AT_ONCE + 1, _TOKENS)
        first = seconds_for(server.base_url, inputs[:1], clients=1)
        seconds_for(server.base_url, inputs[1:], _AT_ONCE)
        used = _held(server.process.pid, before)
        seconds_for(server.base_url, random_inputs(server.base_url, 1, model.context), clients=1)
        in_full = _held(server.process.pid, before)
    return Memory(f"{model.name} {quantisation}", used, in_full, first)


def _held(pid: int, used_before: int) -> int:
    """Return the bytes that a process holds on the device.

    Where the driver does not tell them by process, those by which the device's use has grown.
    """
    held = process_memory(pid)
    return read_devices()[0].memory_used - used_before if held is None else held


def markdown(
    device: Device, build: Build, cells: Sequence[Cell], memory: Sequence[Memory], peer: str
) -> str:
    """Return what docs/measured/benchmarks-gpu.md holds; ``peer`` says what was beside ours."""
    commit = build.facts["commit"][:COMMIT_DIGITS]
    beside = f", beside {peer}" if peer else ""
    parts = [
        f"{device.name} (compute capability {device.compute_capability}), driver {device.driver}, "
        f"CUDA {build.facts['cuda']}, llama.cpp {commit} from origin {build.facts['origin']}, "
        f"{time.strftime('%Y-%m-%d')}{beside}"
    ]
    for model in dict.fromkeys(cell.model for cell in cells):
        rows = cell_rows([cell for cell in cells if cell.model == model])
        parts += [f"## {model}", markdown_table(HEADER, rows)]
    rows = [
        (
            each.label,
            f"{each.used / 1e9:.2f} GB",
            f"{each.in_full / 1e9:.2f} GB",
            f"{each.first_request * 1000:.0f} ms",
        )
        for each in memory
    ]
    return "\n\n".join([*parts, "## Memory of the device", markdown_table(MEMORY_HEADER, rows)])


def report(names: Sequence[str], rounds: int, *, beside_pytorch: bool) -> None:
    """Measure the named models and print the page.

    Raises ToolError where there is no GPU, or no cuda build.
    """
    devices = read_devices()
    build = find_build("cuda")
    if len(devices) > 1:
        raise ToolError(
            "this machine has several GPUs, and the report is of one; CUDA_VISIBLE_DEVICES cannot "
            "hide the others from nvidia-smi, so run it where there is one"
        )
    models = [load_models().models[name] for name in names]
    memory = [read_memory(build, model, each) for model in models for each in QUANTISATIONS]
    peers = [make(load_images(), PYTORCH_FP16_CUDA)] if beside_pytorch else []
    contenders = [our_process(build, quantisation) for quantisation in QUANTISATIONS]
    contenders += [each for peer in peers for each in peer.contenders]
    measured = [measure(model, contenders, GPU_PLAN, rounds, check) for model in models]
    cells = [cell for each in measured for cell in each.cells]
    peer = ", ".join(f"{each.facts.what} ({each.facts.made_of})" for each in peers)
    say("\n" + markdown(devices[0], build, cells, memory, peer))
