"""Our kernels compiled alone, for one set of instructions: no server, no image, no model."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.cpu_variants import cpu_features
from tests.support.requirements import need
from tools.facts.images import load_images
from tools.native.source import lay_source
from tools.origins.choose import choose, resolve_source

FOLDER = Path(__file__).parent.parent / "kernels"

#: The compiler's flags, as for ggml's variants of the CPU backend (ggml/src/CMakeLists.txt), and
#: the features in /proc/cpuinfo without which the result cannot run.
INSTRUCTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sse2": ("", ()),
    "avx": ("-mavx", ("avx",)),
    "avx2": ("-mavx2 -mfma -mf16c", ("avx2", "fma", "f16c")),
    "avx-vnni": ("-mavx2 -mfma -mf16c -mavxvnni", ("avx2", "avx_vnni")),
    "avx512": ("-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq", ("avx512dq",)),
    "avx512-vnni": (
        "-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni",
        ("avx512dq", "avx512_vnni"),
    ),
}
#: Half a unit in the last place of 1.0 in 32 bits: the relative error of one rounding.
ROUNDING = 2.0**-24
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -g"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kernel:
    """A compiled program that reads cases and writes results."""

    program: Path

    def run(self, case: bytes) -> Floats:
        """Return the numbers of all results of a case, or of several after each other."""
        done = subprocess.run([self.program], input=case, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
        return np.frombuffer(done.stdout, dtype=np.float32)


def compile_kernel(name: str, instructions: str, source: Path, folder: Path, more: str) -> Kernel:
    """Compile ``tests/kernels/{name}.cpp`` with the kernel in a patched ``source``.

    ``more`` are further flags; a folder to include from there comes before the source's.
    """
    program = folder / f"{name}-{instructions}"
    includes = [f"-I{source / 'ggml' / each}" for each in ("include", "src", "src/ggml-cpu")]
    flags = f"-std=c++17 -O2 {INSTRUCTIONS[instructions][0]} {more}".split()
    command = ["g++", *flags, *includes, str(FOLDER / f"{name}.cpp"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return Kernel(program)


def patched_source(folder: Path) -> Path:
    """Return llama.cpp's source of the chosen origin with our patches, laid out in ``folder``."""
    patch = shutil.which("patch")
    assert patch, "there is no `patch`"
    tree = resolve_source(load_images(), choose([])).value
    lay_source(tree, folder / "source", patch)
    return folder / "source"


def need_instructions(config: pytest.Config, instructions: str) -> None:
    """Leave a test out, and say so, where this CPU cannot run the instructions."""
    missing = set(INSTRUCTIONS[instructions][1]) - cpu_features()
    why = f"{instructions}: this CPU lacks {', '.join(sorted(missing))}"
    need(config, "cpu-instructions", available=not missing, why=why)


def q8_case(blocks: NDArray[np.uint8], rows: int, inputs: Floats) -> bytes:
    """Return a product of ``rows`` rows in Q8_0 and inputs of shape (count, width)."""
    count, width = inputs.shape
    shape = np.array([rows, width, count], dtype=np.int64)
    return shape.tobytes() + blocks.tobytes() + np.ascontiguousarray(inputs).tobytes()


def attention_case(
    query: Floats,
    key: Floats,
    value: Floats,
    seen: NDArray[np.bool_],
    *,
    scale: float,
    halves: bool,
) -> bytes:
    """Return an attention: queries (heads, n, width), keys and values (kv_heads, keys, width).

    ``seen`` (n, keys) is true where a query may see a key; ``halves`` keeps keys and values in 16
    bits.
    """
    heads, count, width = query.shape
    kv_heads, keys, _ = key.shape
    shape = np.array([width, count, keys, heads, kv_heads, halves], dtype=np.int64)
    stored = np.float16 if halves else np.float32
    mask = np.where(seen, 0, -np.inf).astype(np.float16)
    parts: Sequence[NDArray[np.generic]] = (
        *(shape, np.array([scale], dtype=np.float32), query.astype(np.float32)),
        *(key.astype(stored), value.astype(stored), mask),
    )
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def compile_mutant(name: str, source: Path, folder: Path, what: str, instead: str) -> Kernel:
    """Compile a kernel for AVX2 with one thing wrong in its file."""
    file = f"jina-{name}.cpp"
    text = (source / "ggml" / "src" / "ggml-cpu" / file).read_text(encoding="utf-8")
    assert text.count(what) == 1, f"{file} has {text.count(what)} of {what!r}"
    (folder / "wrong").mkdir()
    (folder / "wrong" / file).write_text(text.replace(what, instead), encoding="utf-8")
    return compile_kernel(name, "avx2", source, folder, f"-I{folder / 'wrong'}")
