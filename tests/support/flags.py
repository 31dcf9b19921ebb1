"""A copy of a model file with other words about the tokens that its tokenizer adds."""

from __future__ import annotations

import shutil
from pathlib import Path

from gguf import GGUFReader


def with_added_tokens(good: Path, folder: Path, *, before: bool, behind: bool) -> Path:
    """Copy a model file into ``folder``, with or without a token before and behind each text."""
    folder.chmod(0o755)
    file = folder / f"{good.stem}-{before:d}{behind:d}.gguf"
    shutil.copyfile(good, file)
    file.chmod(0o644)
    fields = GGUFReader(file, "r+").fields
    for name, value in (("add_bos_token", before), ("add_eos_token", behind)):
        field = fields[f"tokenizer.ggml.{name}"]
        field.parts[field.data[0]][0] = value
    return file
