"""What a test needs to know of the running server that it judges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.facts.models import RETRIEVAL, Model


@dataclass(frozen=True)
class Server:
    """A running server, however it came to run, and the model that it claims to serve."""

    base_url: str
    model: Model
    model_file: Path | None  # the GGUF file that it serves, where this machine has it
    api_key: str | None
    synthetic: bool
    quantisation: str
    bare: bool  # llama-server as it is, without images/patches
    task: str = RETRIEVAL
