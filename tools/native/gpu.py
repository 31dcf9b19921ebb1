"""What the NVIDIA driver and llama-server's log say of a GPU's work."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.common.errors import ToolError
from tools.common.processes import run_bounded

_MIB = 2**20

#: Column names of nvidia-smi (`nvidia-smi --help-query-gpu`), in the order of Device's fields.
_DEVICE_QUERY = "uuid,name,driver_version,compute_cap,memory.total,memory.used"
_PROCESS_QUERY = "pid,used_gpu_memory"


@dataclass(frozen=True)
class Device:
    """One GPU as the driver describes it; memory in bytes."""

    uuid: str
    name: str
    driver: str
    compute_capability: str
    memory_total: int
    memory_used: int


@dataclass(frozen=True)
class Offload:
    """What a server's log says of where its model is; buffers in MiB, by device and purpose."""

    devices: tuple[str, ...]
    offloaded: int | None  # layers, the output among them; None where the log has no such line
    layers: int | None
    model_mib: dict[str, float]
    kv_mib: dict[str, float]
    compute_mib: dict[str, float]


# ------------------------------------------------------------------ the driver


def read_devices() -> list[Device]:
    """Return the GPUs of this machine.

    Raises ToolError where there is none, no driver, or no nvidia-smi.
    """
    devices = parse_devices(_nvidia_smi("--query-gpu", _DEVICE_QUERY))
    if not devices:
        raise ToolError("nvidia-smi lists no GPU")
    return devices


def process_memory(pid: int) -> int | None:
    """Return the bytes that a process holds on all GPUs together.

    None where the driver does not tell: it lists no process from inside a container (its process
    numbers are another namespace's), and gives no sizes under Windows' own driver model.
    """
    return parse_processes(_nvidia_smi("--query-compute-apps", _PROCESS_QUERY)).get(pid)


def parse_devices(listing: str) -> list[Device]:
    """Take ``--query-gpu`` apart."""
    return [
        Device(uuid, name, driver, capability, _mib(total) or 0, _mib(used) or 0)
        for uuid, name, driver, capability, total, used in _rows(listing, 6)
    ]


def parse_processes(listing: str) -> dict[int, int]:
    """Take ``--query-compute-apps`` apart: bytes by process, of those whose size is told."""
    found: dict[int, int] = {}
    for pid, used in _rows(listing, 2):
        size = _mib(used)
        if size is not None:
            found[int(pid)] = found.get(int(pid), 0) + size
    return found


def _nvidia_smi(query: str, columns: str) -> str:
    command = ["nvidia-smi", f"{query}={columns}", "--format=csv,noheader,nounits"]
    try:
        result = run_bounded(command, timeout=60)
    except FileNotFoundError:
        raise ToolError("there is no nvidia-smi command, so no NVIDIA driver") from None
    if result.code != 0:
        raise ToolError(f"nvidia-smi: {(result.stdout + result.stderr).strip()}")
    return result.stdout


def _rows(listing: str, columns: int) -> Iterator[list[str]]:
    for row in csv.reader(listing.splitlines(), skipinitialspace=True):
        if len(row) == columns:
            yield row
        elif row and not row[0].startswith("No running processes"):
            raise ToolError(f"nvidia-smi printed a line that is not understood: {', '.join(row)}")


def _mib(text: str) -> int | None:
    """Return a number of MiB as bytes; None for ``[N/A]`` and the like."""
    return int(text) * _MIB if text.isdigit() else None


# ------------------------------------------------------------------ the log


def parse_log(log: str) -> Offload:
    """Read where a model lies from llama-server's log at LLAMA_ARG_LOG_VERBOSITY=4.

    The lines are llama.cpp's (src/llama.cpp, src/llama-model.cpp, src/llama-kv-cache.cpp,
    src/llama-context.cpp).
    """
    layers = re.search(r"offloaded (\d+)/(\d+) layers to GPU", log)
    return Offload(
        devices=tuple(re.findall(r"using device (\S+) \(", log)),
        offloaded=int(layers.group(1)) if layers else None,
        layers=int(layers.group(2)) if layers else None,
        model_mib=_buffers(log, "model"),
        kv_mib=_buffers(log, "KV"),
        compute_mib=_buffers(log, "compute"),
    )


def mib_on_devices(buffers: Mapping[str, float]) -> float:
    """Add up the buffers that are on a GPU; CUDA_Host is main memory that a GPU can read."""
    return sum(mib for name, mib in buffers.items() if re.fullmatch(r"CUDA\d+", name))


def _buffers(log: str, purpose: str) -> dict[str, float]:
    """Add up the buffers of one purpose by device; a model may have several on one."""
    found: dict[str, float] = {}
    for device, size in re.findall(rf"(\S+) {purpose} buffer size = +([\d.]+) MiB", log):
        found[device] = found.get(device, 0.0) + float(size)
    return found
