"""The numbers: the server against an independent implementation reading the same file."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import token_array
from tests.support.client import Client
from tests.support.reference import Reference
from tests.support.server import Server
from tests.support.vectors import cosine

CHECKS = Checks()

#: The least cosine to the reference. It computes in float32 throughout; the server rounds
#: activations to 11 bits with F16 weights, and to steps of 1/127 of a block's largest value
#: with Q8_0. A wrong rope base, mask, pooling or norm costs far more than either. The bar of Q8_0
#: is one for our synthetic weights: steep random networks lose 1e-2 with it, with upstream's
#: kernels as with ours. Our kernels themselves are judged in tests/kernels, and the server on such
#: networks by bars of their own in tests/runtime/test_hurtful.py.
BARS = {"F16": 0.9999, "Q8_0": 0.999}

LENGTHS = (1, 2, 16, 127, 512, 1000, 2000)


@cache
def reference(model_file: Path) -> Reference:
    """Load the reference for a file once; it can take seconds."""
    return Reference(model_file)


def agrees_with_reference(server: Server, client: Client, length: int) -> None:
    """Every input of ``length`` tokens has the reference's vector."""
    assert server.model_file is not None
    tokens = token_array(client, length)
    expected = reference(server.model_file).embed_tokens(tokens)
    assert cosine(client.embed([tokens])[0], expected) >= BARS[server.quantisation]


for tokens in LENGTHS:
    CHECKS.add(f"reference_{tokens}_tokens", needs=("model-file",))(
        partial(agrees_with_reference, length=tokens)
    )
