"""Serve a model with one of the runners, in that runner's own environment."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tools.bench.peers.inference.batching import MOST_TOKENS, Runner
from tools.bench.peers.inference.onnx_runners import OnnxRuntimeRunner, OpenVinoRunner
from tools.bench.peers.inference.server import BatchingServer


def load(name: str, file: Path, dtype: str, device: str) -> Runner:
    """Return a runner with a model file loaded, GGUF for torch and ONNX for the others."""
    if name == "torch":
        # Only in its own environment.
        from tools.bench.peers.inference.torch_model import TorchRunner  # noqa: PLC0415

        return TorchRunner(file, dtype, device)
    return OnnxRuntimeRunner(file) if name == "onnxruntime" else OpenVinoRunner(file)


async def run(runner: Runner, model: str, port: int, most_tokens: int) -> None:
    """Serve on the loopback address until the process is ended."""
    await BatchingServer(runner, model, most_tokens).serve("127.0.0.1", port)


def main() -> None:
    """Load and serve what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runner", choices=["torch", "onnxruntime", "openvino"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--most-tokens", type=int, default=MOST_TOKENS, help="of a forward pass")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    runner = load(options.runner, options.file, options.dtype, options.device)
    # What is made at the first forward pass is not the first request's to wait for.
    runner.embed([[0] * 8])
    asyncio.run(run(runner, options.file.name, options.port, options.most_tokens))


if __name__ == "__main__":
    main()
