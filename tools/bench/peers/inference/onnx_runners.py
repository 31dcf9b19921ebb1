"""The exported module in ONNX Runtime and in OpenVINO, each on every CPU that it may use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.bench.peers.inference.batching import Vectors, pad


def usable_cpus() -> int:
    """Return on how many CPUs this process may run."""
    return len(os.sched_getaffinity(0))


class OnnxRuntimeRunner:
    """ONNX Runtime on the CPU, at its default settings but for the number of threads."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # noqa: PLC0415 - only in its own environment

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cpus()
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        tokens, last = pad(inputs)
        vectors: Vectors = self._session.run(["vectors"], {"tokens": tokens, "last": last})[0]
        return vectors


class OpenVinoRunner:
    """OpenVINO on the CPU, in the precision that it prefers there (bf16 on some)."""

    def __init__(self, path: Path) -> None:
        import openvino  # noqa: PLC0415 - only in its own environment

        settings = {"INFERENCE_NUM_THREADS": usable_cpus(), "ENABLE_HYPER_THREADING": True}
        self._model = openvino.Core().compile_model(str(path), "CPU", settings)

    def embed(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        tokens, last = pad(inputs)
        return np.array(self._model([tokens, last])[0], dtype=np.float32)
