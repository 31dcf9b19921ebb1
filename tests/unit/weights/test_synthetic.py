"""Synthetic weights: reproducible, whole or absent, and a model that really retrieves."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader

from tests.support.reference import Reference
from tests.support.vectors import cosine, margins, truncate
from tests.support.words import Words
from tools.common.errors import ToolError
from tools.facts.corpus import load_corpus
from tools.facts.models import Model, load_models
from tools.weights import recipe, synthetic
from tools.weights.recipe import Quantisation, synthetic_name
from tools.weights.synthetic import ensure_synthetic, write_model
from tools.weights.tensors import make_tensors
from tools.weights.vocabulary import make_vocabulary

MODELS = load_models()
NANO, SMALL = MODELS.models["nano"], MODELS.models["small"]
CORPUS = load_corpus()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks lie in the cache folder."""
    monkeypatch.setenv("JINA_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthetic")


def made(folder: Path, name: str, quantisation: Quantisation) -> Path:
    """One file a module; the tests that change files make their own."""
    path = folder / f"{name}-{quantisation}.gguf"
    if not path.exists():
        write_model(path, MODELS.models[name], size="tiny", quantisation=quantisation)
    return path


def embed(path: Path, texts: list[str]) -> np.ndarray:
    reference, words = Reference(path), Words(path)
    return np.array([reference.embed_tokens(words.token_ids(text)) for text in texts])


def contents(path: Path, key: str) -> Any:
    return GGUFReader(path).fields[key].contents()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        write_model(tmp_path / name, NANO, size="tiny", quantisation="Q8_0", seed=seed)
    first = (tmp_path / "first").read_bytes()
    assert (tmp_path / "again").read_bytes() == first
    assert (tmp_path / "other").read_bytes() != first


@pytest.mark.parametrize(
    ("name", "architecture", "pre"),
    [("nano", "eurobert", "jina-v5-nano"), ("small", "qwen3", "qwen2")],
)
def test_metadata_is_that_of_the_real_model(
    folder: Path, name: str, architecture: str, pre: str
) -> None:
    path, model = made(folder, name, "Q8_0"), MODELS.models[name]
    divisor = recipe.TINY_HEADS_DIVISOR[architecture]
    expected = {
        "general.architecture": architecture,
        f"{architecture}.embedding_length": model.dims,
        f"{architecture}.context_length": model.context,
        f"{architecture}.attention.head_count": model.shape.heads // divisor,
        f"{architecture}.attention.head_count_kv": model.shape.kv_heads // divisor,
        f"{architecture}.attention.key_length": model.shape.head_dim,
        f"{architecture}.rope.freq_base": model.shape.rope_base,
        f"{architecture}.attention.layer_norm_rms_epsilon": pytest.approx(model.shape.rms_eps),
        f"{architecture}.attention.causal": model.shape.causal,
        f"{architecture}.pooling_type": 3,  # LLAMA_POOLING_TYPE_LAST in llama.h
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": True,
    }
    reader = GGUFReader(path)
    assert {key: reader.fields[key].contents() for key in expected} == expected
    assert "synthetic" in contents(path, "general.name")


@pytest.mark.parametrize(
    ("quantisation", "kind"),
    [("F16", GGMLQuantizationType.F16), ("Q8_0", GGMLQuantizationType.Q8_0)],
)
def test_matrices_are_quantised_and_norms_are_not(
    folder: Path, quantisation: Quantisation, kind: GGMLQuantizationType
) -> None:
    tensors = GGUFReader(made(folder, "small", quantisation)).tensors
    assert {tensor.tensor_type for tensor in tensors if len(tensor.shape) == 2} == {kind}
    assert {tensor.tensor_type for tensor in tensors if len(tensor.shape) == 1} == {
        GGMLQuantizationType.F32
    }


@pytest.mark.parametrize("model", [NANO, SMALL], ids=["nano", "small"])
def test_the_full_plan_has_the_true_shape(model: Model) -> None:
    whole = recipe.Recipe(model, "full", "Q8_0", seed=1)
    tensors = {each.name: each for each in make_tensors(whole, make_vocabulary(whole))}
    assert tensors["token_embd.weight"].shape == (model.shape.vocabulary, model.dims)
    assert tensors[f"blk.{model.shape.layers - 1}.ffn_up.weight"].shape == (3072, model.dims)
    assert f"blk.{model.shape.layers}.ffn_up.weight" not in tensors
    parameters = sum(np.prod(tensor.shape) for tensor in tensors.values())
    # What the real retrieval checkpoints have, in millions.
    assert round(parameters / 1e6) == {"nano": 212, "small": 596}[model.name]


def test_every_byte_is_a_token_and_no_token_is_there_twice(folder: Path) -> None:
    tokens = contents(made(folder, "nano", "Q8_0"), "tokenizer.ggml.tokens")
    assert len(tokens) == len(set(tokens))
    assert sum(len(token) == 1 for token in tokens) == 256


@pytest.mark.parametrize("text", ["Query: Kubernetes", "Document: certbot renew", "Query: the cat"])
def test_words_are_single_tokens(folder: Path, text: str) -> None:
    ids = Words(made(folder, "small", "Q8_0")).token_ids(text)
    # The prefix's word, its colon, each word, EOS.
    assert len(ids) == 2 + len(text.split()[1:]) + 1


@pytest.mark.parametrize("quantisation", ["F16", "Q8_0"])
@pytest.mark.parametrize("name", ["nano", "small"])
def test_lexical_overlap_ranks_first_at_every_matryoshka_size(
    folder: Path, name: str, quantisation: Quantisation
) -> None:
    path = made(folder, name, quantisation)
    queries = embed(path, [MODELS.query_prefix + each.lexical for each in CORPUS.searches])
    documents = embed(path, [MODELS.document_prefix + each.text for each in CORPUS.documents])
    ids = [document.id for document in CORPUS.documents]
    right = [ids.index(search.finds) for search in CORPUS.searches]
    for dims in MODELS.models[name].matryoshka:
        leads = margins(truncate(queries, dims), truncate(documents, dims), right)
        # A server may be off by a cosine of 0.999, an angle of sqrt(2 * 0.001) = 0.045. A lead
        # is q.(r - w): q moves it by 0.045 * sqrt(2) at most, r and w by 0.045 each: 0.15.
        assert leads.min() > 0.15, f"{dims} dims: {leads.round(2)}"


@pytest.mark.parametrize("name", ["nano", "small"])
def test_prefix_and_word_order_move_the_vector(folder: Path, name: str) -> None:
    text = CORPUS.documents[0].text
    backwards = " ".join(reversed(text.split()))
    vectors = embed(
        made(folder, name, "F16"),
        [MODELS.document_prefix + text, MODELS.query_prefix + text, f"Document: {backwards}"],
    )
    # Ten times what Q8_0 is allowed to cost (1 - 0.999).
    assert max(cosine(vectors[[0, 0]], vectors[[1, 2]])) < 0.99


@pytest.mark.parametrize("name", ["nano", "small"])
def test_quantisations_agree(folder: Path, name: str) -> None:
    texts = [MODELS.document_prefix + document.text for document in CORPUS.documents[:3]]
    plain, quantised = (embed(made(folder, name, kind), texts) for kind in ("F16", "Q8_0"))
    # Q8_0 rounds to 1/127 of a block's largest value, about 2.1 standard deviations for 32
    # Gaussian values: a relative error of 2.1 / 127 / sqrt(12) = 0.005 a matrix. Were the ten
    # matrices on the way to the pooled vector to add up unshrunk, the cosine would lose
    # 10 * 0.005**2 / 2 = 1.2e-4.
    assert min(cosine(plain, quantised)) > 1 - 1.2e-4
    assert max(cosine(plain, quantised)) < 1 - 1e-7, "the files hold the same numbers"


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    write_model(
        tmp_path / "model.gguf",
        NANO,
        size="tiny",
        quantisation="Q8_0",
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def test_an_interruption_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("before")

    def press_ctrl_c(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_model(path, NANO, size="tiny", quantisation="Q8_0", on_progress=press_ctrl_c)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ToolError, match=r"cannot write .*file/model.gguf"):
        write_model(tmp_path / "file" / "model.gguf", NANO, size="tiny", quantisation="Q8_0")


def test_a_right_file_is_kept(tmp_path: Path) -> None:
    path = ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0")
    assert path == tmp_path / synthetic_name(NANO, "tiny", "Q8_0")
    before = path.stat()
    assert ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0") == path
    assert path.stat().st_ino == before.st_ino


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_by_a_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"no GGUF" * 1000)


def of_another_seed(path: Path) -> None:
    write_model(path, NANO, size="tiny", quantisation="Q8_0", seed=9)


def of_another_shape(path: Path) -> None:
    write_model(path, SMALL, size="tiny", quantisation="Q8_0")


@pytest.mark.parametrize(
    "spoil",
    [
        cut_in_half,
        cut_by_a_byte,
        cut_in_the_header,
        emptied,
        garbage,
        of_another_seed,
        of_another_shape,
    ],
)
def test_a_wrong_file_is_made_anew(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0")
    right = path.read_bytes()
    spoil(path)
    assert path.read_bytes() != right
    ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0")
    assert path.read_bytes() == right


@pytest.mark.parametrize("module", recipe.CODE, ids=lambda path: str(path.stem))
def test_a_file_of_other_code_is_made_anew(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0")
    changed = tmp_path / module.name
    changed.write_text("# another generator")
    code = [changed if each == module else each for each in recipe.CODE]
    monkeypatch.setattr(recipe, "CODE", code)
    before = contents(path, "synthetic.recipe")
    ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0")
    assert contents(path, "synthetic.recipe") != before


def test_all_the_code_that_makes_a_file_counts() -> None:
    """Every module of weights/ that write_model's own module imports, and that one."""
    found, todo = set(), ["synthetic"]
    while todo:
        name = todo.pop()
        found.add(name)
        text = (Path(recipe.__file__).with_name(f"{name}.py")).read_text()
        imported = set(re.findall(r"^from tools\.weights\.(\w+) import", text, re.MULTILINE))
        todo += imported - found
    assert found == {path.stem for path in recipe.CODE}


def test_two_at_once_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = threading.Barrier(2, timeout=30)
    written: list[Path] = []

    def counted(path: Path, *arguments: Any, **options: Any) -> None:
        written.append(path)
        write_model(path, *arguments, **options)

    def ensure() -> None:
        starts.wait()
        ensure_synthetic(tmp_path, NANO, "tiny", "Q8_0")

    monkeypatch.setattr(synthetic, "write_model", counted)
    threads = [threading.Thread(target=ensure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
