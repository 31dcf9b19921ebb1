"""The table of docs/serve/gpu.md: what the native cuda build does on this machine's GPU."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tools.bench.load import random_inputs, seconds_for
from tools.common.console import say
from tools.common.errors import ToolError
from tools.facts.models import Model, load_models
from tools.facts.paths import CUDA_COMPOSE_FILE
from tools.images.labels import COMMIT_DIGITS
from tools.native.build import Build, find_build
from tools.native.gpu import Device, process_memory, read_devices
from tools.native.server import native_booted
from tools.weights.hub import models_dir
from tools.weights.recipe import Quantisation
from tools.weights.synthetic import ensure_synthetic

QUANTISATION: Quantisation = "Q8_0"

#: Tokens of an input where tokens a second are measured, and how many are sent at once.
LONG, AT_ONCE = 512, 16
#: Tokens of an input where embeddings a second are measured: a search, or a short title.
SHORT = 14
CLIENTS = (1, 16, 64)
#: Requests of each measurement; the first of these sizes is sent once before and not counted.
LONG_REQUESTS, SHORT_REQUESTS = 256, 1024


@dataclass(frozen=True)
class Row:
    """What one model did: rates a second, memory in bytes, the first request in seconds.

    ``memory`` is what the process held on the device after the short and long inputs, and
    ``memory_in_full`` after one of the model's whole context.
    """

    model: str
    tokens: float
    embeddings: tuple[float, ...]
    memory: int
    memory_in_full: int
    first_request: float


def measure(build: Build, model: Model) -> Row:
    """Boot ``model`` in its true shape on the GPU and measure it.

    Raises ToolError where it does not boot, or the GPU is not used.
    """
    file = ensure_synthetic(models_dir(), model, "full", QUANTISATION)
    before = read_devices()[0].memory_used
    with native_booted(
        build.server, model, file, synthetic=True, overrides=[CUDA_COMPOSE_FILE]
    ) as server:
        long = random_inputs(server.base_url, LONG_REQUESTS, LONG)
        short = random_inputs(server.base_url, SHORT_REQUESTS, SHORT)
        first = seconds_for(server.base_url, short[:1], clients=1)
        seconds_for(server.base_url, long[:AT_ONCE], AT_ONCE)
        tokens = LONG * len(long) / seconds_for(server.base_url, long, AT_ONCE)
        embeddings = tuple(
            len(short) / seconds_for(server.base_url, short, clients) for clients in CLIENTS
        )
        memory = _held(server.process.pid, before)
        seconds_for(server.base_url, random_inputs(server.base_url, 1, model.context), clients=1)
        in_full = _held(server.process.pid, before)
    return Row(f"{model.name} {QUANTISATION}", tokens, embeddings, memory, in_full, first)


def _held(pid: int, used_before: int) -> int:
    """Return the bytes that a process holds on the device.

    Where the driver does not tell them by process, those by which the device's use has grown.
    """
    held = process_memory(pid)
    return read_devices()[0].memory_used - used_before if held is None else held


def markdown(device: Device, build: Build, rows: Sequence[Row]) -> str:
    """Return the table as docs/serve/gpu.md holds it."""
    commit = build.facts["commit"][:COMMIT_DIGITS]
    facts = (
        f"{device.name} (compute capability {device.compute_capability}), driver {device.driver}, "
        f"CUDA {build.facts['cuda']}, llama.cpp {commit} from origin {build.facts['origin']}, "
        f"{time.strftime('%Y-%m-%d')}"
    )
    header = [
        "model",
        f"tokens/s ({LONG} tokens, {AT_ONCE} at once)",
        *(f"embeddings/s, {clients} at once" for clients in CLIENTS),
        "memory",
        "memory, whole context",
        "first request",
    ]
    lines = [
        [
            row.model,
            f"{row.tokens:.0f}",
            *(f"{rate:.0f}" for rate in row.embeddings),
            f"{row.memory / 1e9:.2f} GB",
            f"{row.memory_in_full / 1e9:.2f} GB",
            f"{row.first_request * 1000:.0f} ms",
        ]
        for row in rows
    ]
    table = [header, ["---"] * len(header), *lines]
    return "\n".join([facts, "", *(f"| {' | '.join(line)} |" for line in table)])


def report() -> None:
    """Measure every model and print the table.

    Raises ToolError where there is no GPU, or no cuda build.
    """
    devices = read_devices()
    build = find_build("cuda")
    if len(devices) > 1:
        raise ToolError(
            "this machine has several GPUs, and the report is of one; CUDA_VISIBLE_DEVICES cannot "
            "hide the others from nvidia-smi, so run it where there is one"
        )
    rows = [measure(build, model) for model in load_models().models.values()]
    say("\n" + markdown(devices[0], build, rows))
