"""Serve a model with one of the engines, in that engine's own environment."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tools.bench.peers.inference.batching import Engine
from tools.bench.peers.inference.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from tools.bench.peers.inference.server import EmbeddingServer


def load(name: str, file: Path, dtype: str) -> Engine:
    """Return an engine with a model file loaded, GGUF for torch and ONNX for the others."""
    if name == "torch":
        # Only in its own environment.
        from tools.bench.peers.inference.torch_model import TorchEngine  # noqa: PLC0415

        return TorchEngine(file, dtype)
    return OnnxRuntimeEngine(file) if name == "onnxruntime" else OpenVinoEngine(file)


async def run(engine: Engine, model: str, port: int) -> None:
    """Serve on the loopback address until the process is ended."""
    await EmbeddingServer(engine, model).serve("127.0.0.1", port)


def main() -> None:
    """Load and serve what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["torch", "onnxruntime", "openvino"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    engine = load(options.engine, options.file, options.dtype)
    # What is made at the first forward pass is not the first request's to wait for.
    engine.embed([[0] * 8])
    asyncio.run(run(engine, options.file.name, options.port))


if __name__ == "__main__":
    main()
