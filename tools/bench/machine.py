"""What the numbers were measured on: the machine, how busy it was, and the image."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tools.common.errors import ToolError
from tools.engine.docker import ask_docker

#: The CPU features, as Linux names them, that decide which of ggml's kernels run.
_TELLING_FLAGS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "sve"),  # ARM
)


@dataclass(frozen=True)
class Machine:
    """The machine that the engine runs on."""

    cpu: str
    cores: int
    threads: int
    flags: tuple[str, ...]
    memory_bytes: int
    kernel: str


def read_cpuinfo(text: str) -> tuple[str, int, tuple[str, ...]]:
    """Return a CPU's model, its physical cores and its telling flags from /proc/cpuinfo.

    Where a virtual machine or ARM tells nothing of cores, each processor counts as one.
    """
    processors = []
    for block in text.strip().split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        processors.append({key.strip(): value.strip() for key, _, value in pairs})
    processors = [each for each in processors if "processor" in each]
    if not processors:
        raise ToolError("/proc/cpuinfo names no processor")
    first = processors[0]
    cores = {
        (each.get("physical id"), each.get("core id", each["processor"])) for each in processors
    }
    present = set(first.get("flags", first.get("Features", "")).split())
    flags = tuple(flag for flag in _TELLING_FLAGS if flag in present)
    return first.get("model name", "unknown"), len(cores), flags


def describe_machine(image: str) -> Machine:
    """Return what the engine and a container of ``image`` say of the machine under them."""
    failed = "the engine does not describe its machine"
    facts = json.loads(ask_docker(["info", "--format", "{{json .}}"], failed=failed))
    arguments = ["run", "--rm", "--entrypoint", "cat", image, "/proc/cpuinfo"]
    model, cores, flags = read_cpuinfo(ask_docker(arguments, failed=failed))
    return Machine(
        cpu=model,
        cores=cores,
        threads=facts["NCPU"],
        flags=flags,
        memory_bytes=facts["MemTotal"],
        kernel=facts["KernelVersion"],
    )


def busy_share(stat: Path = Path("/proc/stat"), seconds: float = 3.0) -> float | None:
    """Return which share of the CPU time of the next seconds went to anything; None if unknown.

    To be asked while the servers are frozen: what is busy then disturbs the measurement. Time
    stolen by other guests of the host counts as busy (Linux, proc(5)).
    """
    if not stat.exists():
        return None
    before = _cpu_times(stat)
    time.sleep(seconds)
    after = _cpu_times(stat)
    total = after[0] - before[0]
    idle = after[1] - before[1]
    return 1 - idle / total if total else 0.0


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return how much memory new processes could have without swapping; None if unknown."""
    if not meminfo.exists():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _cpu_times(stat: Path) -> tuple[int, int]:
    """Return all time and idle time; the last two fields are counted in the first two already."""
    values = [int(value) for value in stat.read_text(encoding="ascii").split("\n")[0].split()[1:9]]
    return sum(values), values[3] + values[4]
