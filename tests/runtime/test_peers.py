"""The benchmark's peers as processes answer as an independent implementation of the model does.

Each is booted as the benchmark boots it, on tiny weights, where its environment is installed.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.reference import Reference
from tests.support.requirements import need
from tests.support.vectors import cosine
from tests.support.words import Words
from tools.bench.agreement import embed
from tools.bench.measure import Subject
from tools.bench.peers.environments import is_installed
from tools.bench.peers.known import PEERS, PYTORCH_FP32, PythonPeer
from tools.bench.peers.make import make
from tools.bench.servers import awake, frozen
from tools.bench.workloads import random_texts
from tools.catalog import Model, load_images, load_models
from tools.fetch import models_dir
from tools.synthetic import ensure_synthetic

MODELS = load_models().models
PYTHON_PEERS = [peer for peer in PEERS.values() if isinstance(peer, PythonPeer)]

#: bfloat16 has 8 bits of precision: ten roundings of 2 ** -9 each, at random, turn a vector by
#: 0.006, whose cosine is 0.99998. float32 and llama.cpp's Q8_0 are nearer.
BAR = 0.9999
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
        assert cosine(vectors, expected).min() >= BAR
