"""Export a model file to ONNX in float32: ``python -m ... FILE.gguf FILE.onnx``.

Batch and length stay free. Tensors go into a file beside it: a protobuf holds 2 GB at most.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.bench.peers.inference.torch_model import Embedder
from tools.bench.peers.inference.weights import Weights

#: An example of what goes in, with a padded input in it.
_TOKENS, _LAST = (3, 8), (7, 4, 6)


def export(source: Path, destination: Path) -> None:
    """Write the ONNX file of a model file."""
    module = Embedder(Weights(source), torch.float32).eval()
    example = torch.ones(_TOKENS, dtype=torch.int64), torch.tensor(_LAST)
    batch = torch.export.Dim("batch", min=1, max=4096)
    length = torch.export.Dim("length", min=1, max=module.hyper.context)
    torch.onnx.export(
        module,
        example,
        str(destination),
        dynamo=True,
        external_data=True,
        input_names=["tokens", "last"],
        output_names=["vectors"],
        dynamic_shapes={"tokens": {0: batch, 1: length}, "last": {0: batch}},
    )


def main() -> None:
    """Export the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    options = parser.parse_args()
    export(options.source, options.destination)


if __name__ == "__main__":
    main()
