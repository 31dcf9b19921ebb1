"""The toy in a process of its own, which can be killed: `python -m tests.support.toy PORT`."""

from __future__ import annotations

import signal
import sys

from tests.support.toy.server import ToyServer
from tools.facts.models import load_models

if __name__ == "__main__":
    with ToyServer(load_models().models["nano"], port=int(sys.argv[1])) as toy:
        print(toy.described().base_url, flush=True)
        signal.pause()
