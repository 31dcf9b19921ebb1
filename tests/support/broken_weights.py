"""A model file whose weights are not numbers, as a disk or a bad conversion makes them."""

from __future__ import annotations

import struct
from pathlib import Path

from gguf import GGUFReader

NORM = "output_norm.weight"


def with_weight(good: Path, folder: Path, value: float) -> Path:
    """Copy a model file into ``folder``, with ``value`` as the first weight of its last norm."""
    (norm,) = (each for each in GGUFReader(good).tensors if each.name == NORM)
    content = bytearray(good.read_bytes())
    content[norm.data_offset : norm.data_offset + 4] = struct.pack("<f", value)
    folder.chmod(0o755)
    file = folder / good.name
    file.write_bytes(content)
    file.chmod(0o644)
    return file
