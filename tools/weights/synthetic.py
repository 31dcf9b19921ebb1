"""Synthetic weights: models of the true architecture and width, made here from a seed.

They need no download and carry no licence, yet a text that shares rare words with a query ranks
first, as in a lexical search.

How that works. Every token's embedding has a random code, the same for each spelling of a word,
in the leading *content* channels, and a constant *anchor* and the token's *rarity* in the last 64
*control* channels. The anchor gives each attention head a constant query and key, so that rotary
positions matter; the rarity raises a telling word's weight in the softmax and lowers that of a
common word. Values, outputs and the feed-forward are plain Gaussian maps over the content
channels. Such maps keep the angles between texts, in any leading part of the vector too (Johnson
and Lindenstrauss 1984), which is what Matryoshka truncation needs. The EOS that the tokenizer
appends has next to no content of its own, so the pooled vector is what attention gathered.

Only numpy's Gaussian stream and elementwise arithmetic are used, no BLAS or LAPACK: the same seed
gives the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from gguf import (
    GGUFReader,
    GGUFWriter,
    PoolingType,
    RopeScalingType,
)
from gguf.quants import quantize

from tools.common.cache import locked
from tools.common.errors import ToolError
from tools.common.files import let_the_server_read
from tools.facts.models import Model
from tools.weights.recipe import (
    DEFAULT_SEED,
    QUANTISED,
    Family,
    Quantisation,
    Recipe,
    Size,
    synthetic_name,
)
from tools.weights.tensors import Tensor, make_tensors
from tools.weights.vocabulary import Vocabulary, make_vocabulary

Progress = Callable[[int, int], None]
Tensors = Callable[[Recipe, Vocabulary], Iterator[Tensor]]


def ensure_synthetic(
    models_dir: Path, model: Model, size: Size, quantisation: Quantisation
) -> Path:
    """Return the path of the synthetic weights in ``models_dir``, making them where needed.

    A file that is whole and of this very recipe is kept; any other is made anew. Two processes
    do not make the same file at once. Raises ToolError where it cannot be written.
    """
    path = (models_dir / synthetic_name(model, size, quantisation)).absolute()
    with locked(path):
        if not _is_current(path, Recipe(model, size, quantisation, DEFAULT_SEED)):
            write_model(path, model, size=size, quantisation=quantisation)
    let_the_server_read(path)
    return path


def write_model(
    path: Path,
    model: Model,
    *,
    size: Size,
    quantisation: Quantisation,
    seed: int = DEFAULT_SEED,
    vocabulary: Vocabulary | None = None,
    tensors: Tensors = make_tensors,
    on_progress: Progress | None = None,
) -> None:
    """Write synthetic weights of ``model`` to ``path``, replacing what is there at the very end.

    ``tiny`` keeps the true width, head size and rotary base and shrinks layers, feed-forward,
    vocabulary and, for qwen3, the number of heads; ``wide`` has the true vocabulary and is tiny
    otherwise; ``full`` is the true shape. ``vocabulary`` takes the place of the made one: without
    its meanings the weights are random, and know no words. ``tensors`` makes others of the same
    names and shapes.
    ``on_progress(done, total)`` is called with bytes. On any failure, Ctrl-C included, nothing is
    left behind. Raises ToolError where the file cannot be written.
    """
    recipe = Recipe(model, size, quantisation, seed)
    partial_path = path.with_name(f"{path.name}.part")
    writer = GGUFWriter(partial_path, model.shape.architecture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            vocabulary = vocabulary or make_vocabulary(recipe)
            _write(writer, recipe, vocabulary, list(tensors(recipe, vocabulary)), on_progress)
            writer.close()
            partial_path.replace(path)
        finally:
            writer.close()
            partial_path.unlink(missing_ok=True)
    except OSError as error:
        raise ToolError(
            f"cannot write {path}: {error}; check the free space and the folder's permissions"
        ) from error


def _write(
    writer: GGUFWriter,
    recipe: Recipe,
    vocabulary: Vocabulary,
    tensors: Sequence[Tensor],
    on_progress: Progress | None,
) -> None:
    _add_description(writer, recipe)
    _add_hyper_parameters(writer, recipe)
    _add_tokenizer(writer, recipe.family, vocabulary)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, raw_dtype=tensor.kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()

    # Tensors are made one by one: the largest is 600 MB in fp32.
    done = 0
    for tensor in tensors:
        # A stream of its own keeps each tensor independent of those before it.
        rng = np.random.default_rng([recipe.seed, zlib.crc32(tensor.name.encode())])
        writer.write_tensor_data(quantize(tensor.make(rng, *tensor.shape), tensor.kind))
        done += tensor.nbytes
        if on_progress is not None:
            on_progress(done, sum(each.nbytes for each in tensors))


def _is_current(path: Path, recipe: Recipe) -> bool:
    """Tell whether ``path`` is a whole file of this recipe."""
    if not path.exists():
        return False
    try:
        field = GGUFReader(path).get_field("synthetic.recipe")
    except (ValueError, IndexError, KeyError):
        # What the reader raises for a file that is cut off or is no GGUF.
        return False
    return field is not None and field.contents() == recipe.fingerprint()


def _add_description(writer: GGUFWriter, recipe: Recipe) -> None:
    writer.add_name(f"{recipe.model.served_as} synthetic ({recipe.size})")
    writer.add_description("Random weights for tests and demos; they only know shared words")
    writer.add_string("synthetic.recipe", recipe.fingerprint())
    writer.add_uint32("synthetic.seed", recipe.seed)
    writer.add_file_type(QUANTISED[recipe.quantisation][1])


def _add_hyper_parameters(writer: GGUFWriter, recipe: Recipe) -> None:
    model = recipe.model
    shape = model.shape
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.dims)
    writer.add_block_count(recipe.layers)
    writer.add_feed_forward_length(recipe.ffn)
    heads, kv_heads = recipe.heads
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.rms_eps)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_scaling_type(RopeScalingType.NONE)
    writer.add_causal_attention(shape.causal)
    writer.add_pooling_type(PoolingType.LAST)


def _add_tokenizer(writer: GGUFWriter, family: Family, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(family.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_pad_token_id(vocabulary.eos)
    # Said outright: by itself llama.cpp adds a BOS for nano's tokenizer and an EOS for neither.
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)
