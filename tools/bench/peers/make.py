"""Make peers and turn them into contenders: `nox -s bench -- --peers NAME...|all`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench.peers.environments import (
    ensure_environment,
    ensure_onnx,
    inference_environment,
    installed_versions,
    knows_a_gpu,
)
from tools.bench.peers.images import booted_peer, build_peer
from tools.bench.peers.known import (
    PEERS,
    PYTORCH_FP16_CUDA,
    PYTORCH_FP32,
    ImagePeer,
    Peer,
    PythonPeer,
)
from tools.bench.peers.ours import Boot, Contender, PeerFacts
from tools.bench.peers.process import booted_process
from tools.bench.peers.servers import MeasuredServer
from tools.common.console import loud
from tools.common.errors import ToolError
from tools.common.processes import run_bounded
from tools.facts.images import Images
from tools.facts.models import Model
from tools.images.toolchain import amx_is_miscompiled
from tools.weights.recipe import Quantisation

ALL = "all"


@dataclass(frozen=True)
class Made:
    """A peer that is ready to be booted, once for each quantisation."""

    facts: PeerFacts
    contenders: tuple[Contender, ...]


def make_peers(images: Images, names: Sequence[str]) -> list[Made]:
    """Make the named peers in the catalogue's order; with ALL, every one that can be made here.

    Raises ToolError for a named one that cannot be made. With ALL, one loud line says which are
    left out and why.
    """
    if ALL not in names:
        return [make_named(images, name) for name in PEERS if name in names]
    made, left_out = [], []
    for name, peer in PEERS.items():
        try:
            made.append(make(images, peer))
        except ToolError as error:
            left_out.append(f"{name} ({' '.join(str(error).split())})")
    if left_out:
        loud(f"peers that cannot be made on this machine: {'; '.join(left_out)}")
    return made


def make_named(images: Images, name: str) -> Made:
    """Make one peer. Raises ToolError that names it where it cannot be made."""
    try:
        return make(images, PEERS[name])
    except ToolError as error:
        raise ToolError(f"peer {name}: {error}") from None


def make(images: Images, peer: Peer) -> Made:
    """Build or install a peer. Raises ToolError where that cannot be done on this machine."""
    return _make_image(images, peer) if isinstance(peer, ImagePeer) else _make_python(peer)


def _make_image(images: Images, peer: ImagePeer) -> Made:
    image = build_peer(images, peer)

    def boot(model: Model, file: Path) -> Iterator[MeasuredServer]:
        with booted_peer(peer, image.name, model, file) as server:
            yield server

    made_of = f"{image.id}, llama.cpp {image.llama_cpp} (origin {image.origin})"
    facts = PeerFacts(peer.name, peer.what, made_of, image.bytes, image.compressed_bytes)
    return Made(facts, _contenders(peer, peer.quantisations, contextmanager(boot)))


def _make_python(peer: PythonPeer) -> Made:
    python = python_for(peer)
    exporting = PYTORCH_FP32.environment
    if peer.exported:
        ensure_environment(exporting)

    def boot(_: Model, file: Path) -> Iterator[MeasuredServer]:
        served = ensure_onnx(exporting, file) if peer.exported else file
        command = [str(python), *(word.replace("{file}", str(served)) for word in peer.arguments)]
        with booted_process(command, inference_environment(), peer.health) as server:
            yield server

    made_of = installed_versions(python, peer.environment)
    return Made(
        PeerFacts(peer.name, peer.what, made_of, None, None),
        _contenders(peer, runnable(peer, host_compiler), contextmanager(boot)),
    )


def python_for(peer: PythonPeer) -> Path:
    """Return the Python that runs a peer.

    On a GPU that is this one, where its PyTorch knows the GPU: a GPU machine often has no network,
    and PyTorch is there. Else an environment is made. Raises ToolError as ensure_environment does.
    """
    if peer is PYTORCH_FP16_CUDA and knows_a_gpu(Path(sys.executable)):
        return Path(sys.executable)
    return ensure_environment(peer.environment)


def _contenders(
    peer: Peer, quantisations: Sequence[Quantisation], boot: Boot
) -> tuple[Contender, ...]:
    tokens = isinstance(peer, ImagePeer) or peer.takes_tokens
    return tuple(Contender(peer.name, each, boot, tokens) for each in quantisations)


def runnable(peer: PythonPeer, compiler: Callable[[], str]) -> tuple[Quantisation, ...]:
    """Return the quantisations that a peer can serve: not Q8_0 where its compiler breaks AMX.

    With AMX, a server compiled by such a GCC ends at the first quantised input
    (tools/native/build.py); without, all is well.
    """
    quantised = "Q8_0" in peer.quantisations and bool(peer.environment.compiles)
    if quantised and has_amx() and amx_is_miscompiled(compiler()):
        loud(f"{peer.name} runs F16 only: this machine's compiler breaks its kernels for Q8_0")
        return tuple(each for each in peer.quantisations if each != "Q8_0")
    return peer.quantisations


def host_compiler() -> str:
    """Return the first line of what the C++ compiler that pip uses says of its version."""
    try:
        result = run_bounded([os.environ.get("CXX", "c++"), "--version"], timeout=60)
    except FileNotFoundError:
        return ""
    return (result.stdout.splitlines() or [""])[0]


def has_amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this machine's CPU multiplies int8 tiles."""
    return cpuinfo.exists() and "amx_int8" in cpuinfo.read_text(encoding="utf-8").split()
