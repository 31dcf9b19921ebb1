"""The benchmark's peers answer as an independent implementation of the model does.

Each is booted as the benchmark boots it, on tiny weights: processes where their environments are
installed, images as the image under test at the peer's settings.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.reference import Reference
from tests.support.requirements import need
from tests.support.vectors import cosine
from tests.support.words import Words
from tools.bench.agreement import check, embed
from tools.bench.measure import Subject, measure
from tools.bench.peers.environments import is_installed
from tools.bench.peers.images import booted_peer
from tools.bench.peers.known import PEERS, PYTORCH_FP32, ImagePeer, PythonPeer
from tools.bench.peers.make import make
from tools.bench.peers.ours import OURS, Contender, our_image
from tools.bench.peers.servers import MeasuredServer, awake, frozen
from tools.bench.workloads import Workload, random_texts
from tools.common.errors import ToolError
from tools.facts.images import load_images
from tools.facts.models import Model, load_models
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

MODELS = load_models().models
IMAGE_PEERS = [peer for peer in PEERS.values() if isinstance(peer, ImagePeer)]
PYTHON_PEERS = [peer for peer in PEERS.values() if isinstance(peer, PythonPeer)]

#: bfloat16 has 8 bits of precision: ten roundings of 2 ** -9 each, at random, turn a vector by
#: 0.006, whose cosine is 0.99998. Q8_0's is the contract's own bar.
BARS = {"F16": 0.9999, "Q8_0": 0.999}
#: Some are computed together and padded, and the longest is longer than where some would cut.
LENGTHS = (5, 40, 33, 128, 600)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize("peer", PYTHON_PEERS, ids=lambda peer: peer.name)
def test_a_peer_gives_the_models_vectors(
    peer: PythonPeer, model: Model, pytestconfig: pytest.Config
) -> None:
    wanted = [peer.environment, *([PYTORCH_FP32.environment] if peer.exported else [])]
    why = f"`nox -s bench -- --quick --peers {peer.name}` installs it"
    need(pytestconfig, peer.name, available=all(map(is_installed, wanted)), why=why)
    random = np.random.default_rng(3)
    texts = [text for length in LENGTHS for text in random_texts(random, 1, length)]
    for contender in make(load_images(), peer).contenders:
        file = ensure_synthetic(models_dir(), model, "tiny", contender.quantisation)
        words = Words(file)
        tokens = [words.token_ids(text) for text in texts]
        reference = Reference(file)
        expected = [reference.embed_tokens(each) for each in tokens]
        inputs = tokens if contender.takes_tokens else texts
        with contender.boot(model, file) as booted:
            subject = Subject(contender, booted)
            with frozen([booted]), awake(booted):
                vectors = embed(subject, inputs, sum(LENGTHS))
        assert cosine(vectors, expected).min() >= BARS[contender.quantisation]


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize("peer", IMAGE_PEERS, ids=lambda peer: peer.name)
def test_llama_server_answers_at_a_peers_settings(
    peer: ImagePeer, model: Model, image: str
) -> None:
    """The longest input of the benchmark too, where a causal model's slot has room for it."""
    lengths = (*LENGTHS, 2047 if model.shape.causal else 2048)
    file = ensure_synthetic(models_dir(), model, "tiny", "F16")
    words, reference, random = Words(file), Reference(file), np.random.default_rng(4)
    tokens = [words.token_ids(random_texts(random, 1, length)[0]) for length in lengths]
    expected = [reference.embed_tokens(each) for each in tokens]
    with booted_peer(peer, image, model, file) as booted:
        with frozen([booted]), awake(booted):
            vectors = embed(Subject(contender_of(peer), booted), tokens, sum(lengths))
        assert booted.peak_bytes() > file.stat().st_size / 2
        assert 0 < booted.restart_seconds() < 60
    assert cosine(vectors, expected).min() >= BARS["F16"]


def test_a_request_without_an_answer_tells_what_became_of_the_container(image: str) -> None:
    model, peer = MODELS["nano"], IMAGE_PEERS[0]
    file = ensure_synthetic(models_dir(), model, "tiny", "F16")
    ended = r"ended with 137 \(killed, .*\), and said at last:\n.*(model loaded|setting: model)"
    wanted = f"does not answer with vectors: .* {ended}"
    with booted_peer(peer, image, model, file) as booted:
        with pytest.raises(ToolError, match=f"(?s){wanted}"):
            ask_while_it_ends(Subject(contender_of(peer), booted))
        assert "its container ended with 137" in booted.last_words()


def test_the_image_answers_what_the_benchmark_sends(patched: str) -> None:
    """By arrays of tokens and as texts, alone and in batches; what is measured is not judged."""
    plan = (Workload(16, 1, 1), Workload(16, 2, 4))
    ours = our_image(patched, "Q8_0")
    texts = replace(ours, server="texts", takes_tokens=False)
    measured = measure(MODELS["nano"], [ours, texts], plan, 1, check)
    assert measured.refusals == []
    assert [(each.server, each.workload) for each in measured.cells] == [
        (server, workload) for workload in plan for server in (OURS, "texts")
    ]


def ask_while_it_ends(subject: Subject) -> None:
    """That it can no longer be stopped must not hide why."""
    with awake(subject.booted):
        subject.booted.send_signal("KILL")
        embed(subject, [[1]], 1)


def contender_of(peer: ImagePeer) -> Contender:
    """What the subject of a request is called by; nothing boots it."""

    def boot(model: Model, file: Path) -> AbstractContextManager[MeasuredServer]:
        raise AssertionError("it is booted already")

    return Contender(peer.name, "F16", boot)
