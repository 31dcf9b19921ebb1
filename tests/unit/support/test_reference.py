"""The reference: right where the answer is known, and its deliberate errors are visible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter, PoolingType

from tests.support import reference
from tests.support.reference import Reference
from tests.support.vectors import cosine
from tests.support.words import Words
from tools.facts.corpus import load_corpus
from tools.facts.models import load_models
from tools.weights.synthetic import write_model

MODELS = load_models()
TEXT = MODELS.document_prefix + load_corpus().documents[0].text
DIMS, HEADS, HEAD_DIM, TOKENS = 8, 2, 4, 5

#: A reference, and the token ids of a text.
Known = tuple[Reference, list[int]]


@pytest.fixture(scope="module", params=["nano", "small"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """A reference on tiny synthetic weights, and the token ids of a document."""
    path = tmp_path_factory.mktemp("reference") / "model.gguf"
    write_model(path, MODELS.models[request.param], size="tiny", quantisation="Q8_0")
    return Reference(path), Words(path).token_ids(TEXT)


@pytest.fixture(params=["eurobert", "qwen3"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Reference, np.ndarray]:
    """One layer that needs no matrix arithmetic to follow, and its token embeddings.

    Queries are zero, so attention is the mean; value and output maps are the identity, so the
    mean of the normed tokens is added; the feed-forward is zero.
    """
    path = tmp_path / "plain.gguf"
    arch = request.param
    writer = GGUFWriter(path, arch)
    writer.add_embedding_length(DIMS)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_causal_attention(arch == "qwen3")
    writer.add_pooling_type(PoolingType.LAST)
    embeddings = np.random.default_rng(5).normal(size=(TOKENS, DIMS)).astype(np.float32)
    one, zero = np.eye(DIMS, dtype=np.float32), np.zeros((DIMS, DIMS), dtype=np.float32)
    matrices = {"attn_q": zero, "attn_k": one, "attn_v": one, "attn_output": one}
    matrices |= {"ffn_gate": zero, "ffn_up": one, "ffn_down": one}
    norms = {"attn_norm": DIMS, "ffn_norm": DIMS, "attn_q_norm": HEAD_DIM, "attn_k_norm": HEAD_DIM}
    writer.add_tensor("token_embd.weight", embeddings)
    for name, matrix in matrices.items():
        writer.add_tensor(f"blk.0.{name}.weight", matrix)
    for name, length in norms.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(length, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(DIMS, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Reference(path), embeddings


def test_plain_attention_by_hand(plain: tuple[Reference, np.ndarray]) -> None:
    reference, embeddings = plain
    normed = embeddings / np.sqrt((embeddings**2).mean(axis=1, keepdims=True))
    last = embeddings[-1] + normed.mean(axis=0)
    assert cosine(reference.embed_tokens(range(TOKENS)), last) == pytest.approx(1, abs=1e-6)

    # The first token sees itself alone, unless attention goes both ways.
    seen = normed[:1] if reference.causal else normed
    first = embeddings[0] + seen.mean(axis=0)
    found = reference.embed_tokens(range(TOKENS), pooling="first")
    assert cosine(found, first) == pytest.approx(1, abs=1e-6)


def test_a_rotated_pair_scores_by_distance_alone() -> None:
    x = np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)
    scores = []
    for start in (0, 500):
        angles = reference._rotary_angles(start + 8, 64, 250_000.0)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        query = reference._rotate(x[0], cos[start + 7], sin[start + 7])
        key = reference._rotate(x[1], cos[start + 2], sin[start + 2])
        scores.append(query @ key)
    # fp32 rounding of 64 products.
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert scores[0] != pytest.approx(x[0] @ x[1], abs=0.1)


def test_vectors_are_unit_fp32(model: Known) -> None:
    reference, ids = model
    for some in (ids[-1:], ids):
        vector = reference.embed_tokens(some)
        assert vector.shape == (reference.dims,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_blockwise_attention_is_attention(model: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    reference_, ids = model
    whole = reference_.embed_tokens(ids)
    monkeypatch.setattr(reference, "QUERY_BLOCK", 7)
    assert cosine(reference_.embed_tokens(ids), whole) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "mistake",
    [
        {"rope_base": 10_000.0},
        {"pooling": "mean"},
        {"pooling": "first"},
        {"causal": "flipped"},
        {"feed_forward": False},
    ],
    ids=str,
)
def test_a_mistake_moves_the_vector(model: Known, mistake: dict[str, Any]) -> None:
    reference, ids = model
    if mistake.get("causal") == "flipped":
        mistake = {"causal": not reference.causal}
    found = cosine(reference.embed_tokens(ids, **mistake), reference.embed_tokens(ids))
    # Ten times what a quantised server is allowed to be off (1 - 0.999).
    assert found < 0.99


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "llama.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match="'llama' is not one of ours"):
        Reference(tmp_path / "llama.gguf")
