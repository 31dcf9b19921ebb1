"""What can be measured: our image in a quantisation, or a peer, and how it is booted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench.peers.servers import Container, MeasuredServer
from tools.facts.models import Model
from tools.serving.profile import booted
from tools.weights.recipe import Quantisation

#: What the shipped image is called among its peers.
OURS = "ours"

Boot = Callable[[Model, Path], AbstractContextManager[MeasuredServer]]


@dataclass(frozen=True)
class Contender:
    """A server that a model file is given to; ``server`` is OURS or a peer's name.

    ``boot`` yields it healthy and ends it. One that ``takes_tokens`` no is sent texts instead.
    """

    server: str
    quantisation: Quantisation
    boot: Boot
    takes_tokens: bool = True

    @property
    def label(self) -> str:
        return f"{self.server} {self.quantisation}"


def our_image(image: str, quantisation: Quantisation) -> Contender:
    """Return the image as the compose profiles run it."""

    @contextmanager
    def boot(model: Model, file: Path) -> Iterator[MeasuredServer]:
        with booted(model, file, image=image, synthetic=True) as running:
            yield Container(running)

    return Contender(OURS, quantisation, boot)


@dataclass(frozen=True)
class PeerFacts:
    """What a peer was made of; the sizes are an image's, None for a Python environment."""

    name: str
    what: str
    made_of: str
    bytes: int | None
    compressed_bytes: int | None
