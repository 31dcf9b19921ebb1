"""An image under measurement: what it is made of, and how large it is."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tools.bench.peers.servers import compressed_bytes
from tools.engine.docker import ask_docker
from tools.images.labels import LABEL_PREFIX


@dataclass(frozen=True)
class ImageFacts:
    """An image: its id in the engine, its source, and its sizes."""

    name: str
    id: str
    llama_cpp: str
    origin: str
    bytes: int
    compressed_bytes: int


def describe_image(name: str) -> ImageFacts:
    """Return what an image is made of and how large it is; takes seconds, for compressing it."""
    found = json.loads(ask_docker(["image", "inspect", name]))[0]
    labels = found["Config"].get("Labels") or {}
    return ImageFacts(
        name=name,
        id=found["Id"],
        llama_cpp=labels.get(f"{LABEL_PREFIX}.llama-cpp.commit", "unknown"),
        origin=labels.get(f"{LABEL_PREFIX}.llama-cpp.origin", "unknown"),
        bytes=found["Size"],
        compressed_bytes=compressed_bytes(name),
    )
