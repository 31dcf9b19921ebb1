"""Synthetic weights: models of the true architecture and width, made here from a seed.

They need no download and carry no licence, and they are no random noise: a text that shares rare
words with a query ranks first, as a lexical search would have it.

How that works. Every token's embedding has a random code, the same for each spelling of a word,
in the leading *content* channels, and a constant *anchor* and its *rarity* in the last 64
*control* channels. The anchor gives each attention head a constant query and key, so that rotary
positions matter; the rarity raises a telling word's weight in the softmax and lowers that of a
common word. Values, outputs and the feed-forward are plain Gaussian maps over the content
channels: such maps keep the angles between texts, in any leading part of the vector too (Johnson
and Lindenstrauss 1984), which is what Matryoshka truncation needs. The appended EOS has next to
no content of its own, so the pooled vector is what attention gathered.

Only sums and products of numpy's own Gaussian stream are used, no BLAS or LAPACK: the same seed
gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from gguf import (
    GGMLQuantizationType,
    GGUFReader,
    GGUFWriter,
    LlamaFileType,
    PoolingType,
    RopeScalingType,
    TokenType,
)
from gguf.quants import quant_shape_to_byte_shape, quantize
from numpy.typing import NDArray

from tools.cache import locked
from tools.catalog import Model, load_models
from tools.corpus import CORPUS_FILE, load_corpus

Array = NDArray[np.float32]
Size = Literal["tiny", "full"]
Quantisation = Literal["F16", "Q8_0"]
Progress = Callable[[int, int], None]

DEFAULT_SEED = 2
TINY_LAYERS = 2
TINY_FFN = 256

# Each control signal fills one quantisation block of 32 channels, so that its larger values cost
# the content channels no precision.
ANCHOR = slice(-64, -32)
RARITY = slice(-32, None)
CONTROL = 64
SIGNS = np.resize(np.array([1, -1], dtype=np.float32), 32)
#: Amplitude of a control channel; a content channel's is 1.
CONTROL_LEVEL = 3.0

_QUANTISED = {
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}

#: Strengths, chosen so that wrong rotary bases, poolings and masks move the vector by more than
#: any rounding, while lexical overlap still ranks first (tests/unit/test_synthetic.py).
PREFIX_RARITY = 0.8
EOS_LEVEL = 0.03
CONTENT_SCORE = 0.3
POSITION_SCORE = 0.9
RARITY_SCORE = 1.8
HEAD_NORM = 1.2
ATTENTION_GAIN = 0.7
FFN_INPUT_GAIN = 2.0
FFN_GAIN = 0.25
CONTROL_LEAK = 0.1

# Words that say little about a text.
_COMMON = """
a about above add adds after all along also always an and another any are around as ask at away
back be been before beside between both but by can cannot could did do does down each either
else ever every few find finds first for from get gets go goes had has have he her here him his
how i if in into is it its just keep keeps left less let lets like list made make makes many may
me means more most much must my near need never new no nor not nothing now of off often old on
once one only or other others our out over own place please put read reads same say says see set
she should show shows since small so some soon start still stop stops such take than that the
their them then there these they thing this those through to together too top two under until up
upon use uses used using usually very want was we well were what when where whether which while
who why will with within without would write writes yes yet you your
"""
_COMMON_WORDS = frozenset(_COMMON.split())

# Ordinary words, neither empty nor telling.
_EVERYDAY = """
accepts adds again agreed animal answer answers anything apple ask asks assigned background backend
bank big bird black blue boat book branches bread bridge brown builds caller callers cat chair
changed child city clock cloud code coffee cold column compare computer container costs country
curve data day days decides delete describe document dog door drops earth edit ends environment
environments error estimates everything example execution exit explain fast fewer file filtered fire
first fish fit flower food foreground forest fox fresh friend garden glass green guide hand hangs
header headers hello help horse house ice idle image import imports island jumps key king lake
language large last lasts lazy leaves left letter light limit line lines list lives load logs long
look machine main market memory methods model money moon morning mountain music name network night
ninety node number ocean order otherwise output package page pair paper password people phone
picture place plan port price print prints process prompt queen query quick rain raise rate reached
red refused rehearse reload repeats replace replaces reply reports request return returns river road
run runtime school sea search server session sessions shell ship short shorten shows single sleep
slow small smaller snow song spent star start statement station status stay stays stone stopped
story street summer sun table task tea test text thirty time town train travel tree unassigned user
versions video wait wall warm water week white wind window winter wood word words world year yellow
"""
_EVERYDAY_WORDS = frozenset(_EVERYDAY.split())

# The part of llama.cpp's llama-bpe and qwen2 patterns that yields words (src/llama-vocab.cpp).
_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)\b|[^\r\nA-Za-z0-9]?[A-Za-z]+")


@dataclass(frozen=True)
class _Family:
    """What the tokenizer of one architecture is called, as in the real files."""

    pre: str
    bos: str
    eos: str


_FAMILIES = {
    "eurobert": _Family("jina-v5-nano", "<|begin_of_text|>", "<|end_of_text|>"),
    "qwen3": _Family("qwen2", "<|im_start|>", "<|endoftext|>"),
}


@dataclass(frozen=True)
class _Vocabulary:
    """Tokens in id order; ``code_of[i]`` is the first token that has the same code as token i."""

    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    code_of: NDArray[np.int64]
    rarity: Array
    bos: int
    eos: int


@dataclass(frozen=True)
class _Tensor:
    """One tensor still to be made, of ``shape`` (rows, columns) or (channels,)."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[np.random.Generator], Array]


def synthetic_name(model: Model, size: Size, quantisation: Quantisation) -> str:
    """Return the file name of synthetic weights, such as ``synthetic-nano-tiny-Q8_0.gguf``."""
    return f"synthetic-{model.name}-{size}-{quantisation}.gguf"


def ensure_synthetic(
    models_dir: Path,
    model: Model,
    size: Size,
    quantisation: Quantisation,
    on_progress: Progress | None = None,
) -> Path:
    """Return the path of the synthetic weights in ``models_dir``, making them where needed.

    A file that is whole and made by this very recipe is kept; any other is made anew. Two
    processes do not make the same file at once.
    """
    path = models_dir / synthetic_name(model, size, quantisation)
    with locked(path.absolute()):
        if not _is_current(path, _recipe(model, size, quantisation, DEFAULT_SEED)):
            write_model(path, model, size=size, quantisation=quantisation, on_progress=on_progress)
    return path


def write_model(
    path: Path,
    model: Model,
    *,
    size: Size,
    quantisation: Quantisation,
    seed: int = DEFAULT_SEED,
    on_progress: Progress | None = None,
) -> None:
    """Write synthetic weights of ``model`` to ``path``, replacing what is there at the very end.

    ``tiny`` keeps the true width, heads and rotary base and shrinks layers, feed-forward and
    vocabulary; ``full`` is the true shape. ``on_progress(done, total)`` is called with bytes. On
    any failure, Ctrl-C included, nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    writer = GGUFWriter(partial, model.shape.architecture)
    try:
        _write(writer, model, size, quantisation, seed, on_progress)
        writer.close()
        partial.replace(path)
    finally:
        writer.close()
        partial.unlink(missing_ok=True)


def _write(
    writer: GGUFWriter,
    model: Model,
    size: Size,
    quantisation: Quantisation,
    seed: int,
    on_progress: Progress | None,
) -> None:
    vocabulary = _vocabulary(model, model.shape.vocabulary if size == "full" else None)
    layers = model.shape.layers if size == "full" else TINY_LAYERS
    ffn = model.shape.ffn if size == "full" else TINY_FFN
    tensors = list(_tensors(model, layers, ffn, vocabulary))

    writer.add_name(f"jina-embeddings-v5-text-{model.name} synthetic ({size})")
    writer.add_description("Synthetic weights for tests: no knowledge, only lexical overlap")
    writer.add_string("synthetic.recipe", _recipe(model, size, quantisation, seed))
    writer.add_file_type(_QUANTISED[quantisation][1])
    _add_hyper_parameters(writer, model, layers, ffn)
    _add_tokenizer(writer, _FAMILIES[model.shape.architecture], vocabulary)

    kinds = [_kind(tensor, quantisation) for tensor in tensors]
    sizes = [
        int(np.prod(quant_shape_to_byte_shape(tensor.shape, kind)))
        if kind is GGMLQuantizationType.Q8_0
        else int(np.prod(tensor.shape)) * (2 if kind is GGMLQuantizationType.F16 else 4)
        for tensor, kind in zip(tensors, kinds, strict=True)
    ]
    for tensor, kind, nbytes in zip(tensors, kinds, sizes, strict=True):
        dtype = np.dtype(np.float16 if kind is GGMLQuantizationType.F16 else np.float32)
        writer.add_tensor_info(tensor.name, tensor.shape, dtype, nbytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()

    done = 0
    for tensor, kind, nbytes in zip(tensors, kinds, sizes, strict=True):
        # Each tensor has a stream of its own, so one does not depend on the size of another.
        rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
        writer.write_tensor_data(quantize(tensor.make(rng), kind))
        done += nbytes
        if on_progress is not None:
            on_progress(done, sum(sizes))


def _kind(tensor: _Tensor, quantisation: Quantisation) -> GGMLQuantizationType:
    """Norm weights stay F32, as llama.cpp has them in every quantised file."""
    return GGMLQuantizationType.F32 if len(tensor.shape) == 1 else _QUANTISED[quantisation][0]


def _recipe(model: Model, size: Size, quantisation: Quantisation, seed: int) -> str:
    """Return a hash of all that determines a file: this code, the corpus, the shape, the seed."""
    facts = (model.name, model.dims, model.context, model.shape, _prefixes())
    settings = (facts, size, quantisation, seed)
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(Path(__file__).read_bytes())
    digest.update(CORPUS_FILE.read_bytes())
    return digest.hexdigest()


def _is_current(path: Path, recipe: str) -> bool:
    """Tell whether ``path`` is a whole file of ``recipe``."""
    if not path.exists():
        return False
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError):
        # What the reader raises for a file that is cut off or is no GGUF.
        return False
    field = reader.get_field("synthetic.recipe")
    return field is not None and field.contents() == recipe


def _add_hyper_parameters(writer: GGUFWriter, model: Model, layers: int, ffn: int) -> None:
    shape = model.shape
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.dims)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.rms_eps)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_scaling_type(RopeScalingType.NONE)
    writer.add_causal_attention(shape.causal)
    writer.add_pooling_type(PoolingType.LAST)


def _add_tokenizer(writer: GGUFWriter, family: _Family, vocabulary: _Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(family.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_pad_token_id(vocabulary.eos)
    writer.add_add_bos_token(False)
    # llama-bpe turns BOS on and neither family turns EOS on unless the file says so.
    writer.add_add_eos_token(True)


def _prefixes() -> tuple[str, str]:
    models = load_models()
    return models.query_prefix, models.document_prefix


@cache
def _byte_alphabet() -> list[str]:
    """Return GPT-2's printable character for each byte (openai/gpt-2, src/encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    stand_ins = iter(range(256, 512))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(256)]


def _spell(word: str) -> str:
    return "".join(_byte_alphabet()[byte] for byte in word.encode())


def _words() -> list[str]:
    """Return every word that is to be one token, with the character before it if it keeps one."""
    corpus = load_corpus()
    texts = [document.text for document in corpus.documents]
    for search in corpus.searches:
        texts += [search.text, search.lexical]
    words = [f" {word}" for word in f"{_COMMON} {_EVERYDAY}".split()]
    for prefix in ("", *_prefixes()):
        for text in texts:
            words += _WORD.findall(prefix + text)
    return list(dict.fromkeys(words))


def _vocabulary(model: Model, length: int | None) -> _Vocabulary:
    """Make a byte-level BPE vocabulary, filled up to ``length`` with tokens no text contains.

    A word is merged from its left end, character by character, so each of its beginnings is a
    token too. Merges of words that begin with a letter come last: they alone could also apply
    in the middle of another word.
    """
    alphabet = _byte_alphabet()
    words = {_spell(word): word for word in _words()}
    pieces = {word[:end] for word in words for end in range(2, len(word) + 1)}
    merged = sorted(pieces, key=lambda piece: (piece[0].isalpha() and piece[0].isascii(), piece))
    tokens = alphabet + merged

    keys = []
    rarity = []
    for token in tokens:
        key, rare = _meaning(token, words)
        keys.append(key)
        rarity.append(rare)
    types = [TokenType.NORMAL] * len(tokens)

    family = _FAMILIES[model.shape.architecture]
    filler = [f"<filler {n}>" for n in range((length or 0) - len(tokens) - 2)]
    tokens += [*filler, family.bos, family.eos]
    keys += tokens[len(keys) :]
    rarity += [0.0] * len(filler) + [-1.0, -1.0]
    types += [TokenType.UNUSED] * len(filler) + [TokenType.CONTROL] * 2

    first: dict[str, int] = {}
    code_of = [first.setdefault(key, number) for number, key in enumerate(keys)]
    return _Vocabulary(
        tokens=tokens,
        types=types,
        merges=[f"{piece[:-1]} {piece[-1]}" for piece in merged],
        code_of=np.array(code_of),
        rarity=np.array(rarity, dtype=np.float32),
        bos=len(tokens) - 2,
        eos=len(tokens) - 1,
    )


def _meaning(token: str, words: dict[str, str]) -> tuple[str, float]:
    """Return what a token's code depends on, and its rarity from -1 (common) to 1.

    ``words`` maps the spelling of each word to the word. All spellings of a word share a code;
    the words of the prefixes have their own, or a document about documents would match every
    prefix.
    """
    if token in {prefix.split(":")[0] for prefix in _prefixes()}:
        return f"prefix {token}", PREFIX_RARITY
    if token in words:
        bare = words[token].lstrip(" '\"(-_./`").lower()
        if bare in _COMMON_WORDS:
            return f"word {bare}", -1.0
        return f"word {bare}", 0.0 if bare in _EVERYDAY_WORDS else 1.0
    punctuation = len(token) == 1 and not token.isalnum()
    return f"piece {token}", -1.0 if punctuation else 0.0


def _tensors(model: Model, layers: int, ffn: int, vocabulary: _Vocabulary) -> Iterator[_Tensor]:
    """Yield every tensor of the model, in the order of llama.cpp's own converter."""
    shape = model.shape
    dims = model.dims
    # Each layer adds its share in directions of its own, so shares add up as squares.
    share = float(np.sqrt(TINY_LAYERS / layers))
    queries = shape.heads * shape.head_dim
    keys = shape.kv_heads * shape.head_dim

    def embeddings(rng: np.random.Generator) -> Array:
        codes = _gaussian(rng, len(vocabulary.tokens), dims, 1.0)
        repeated = np.flatnonzero(vocabulary.code_of != np.arange(len(codes)))
        codes[repeated] = codes[vocabulary.code_of[repeated]]
        codes[vocabulary.eos] *= EOS_LEVEL
        codes[:, ANCHOR] = CONTROL_LEVEL * SIGNS
        codes[:, RARITY] = CONTROL_LEVEL * vocabulary.rarity[:, None] * SIGNS
        return codes

    def query(rng: np.random.Generator) -> Array:
        return _attention_input(rng, queries, dims, shape.head_dim, ANCHOR)

    def key(rng: np.random.Generator) -> Array:
        return _attention_input(rng, keys, dims, shape.head_dim, RARITY)

    def value(rng: np.random.Generator) -> Array:
        return _from_content(rng, keys, dims, 1.0)

    def output(rng: np.random.Generator) -> Array:
        return _to_content(rng, dims, queries, ATTENTION_GAIN * share)

    def gate(rng: np.random.Generator) -> Array:
        return _from_content(rng, ffn, dims, 1.0)

    def down(rng: np.random.Generator) -> Array:
        return _to_content(rng, dims, ffn, FFN_GAIN * share)

    def plain_norm(rng: np.random.Generator) -> Array:
        return rng.uniform(0.8, 1.2, dims).astype(np.float32)

    def ffn_norm(rng: np.random.Generator) -> Array:
        weights = FFN_INPUT_GAIN * plain_norm(rng)
        weights[-CONTROL:] *= CONTROL_LEAK
        return weights

    def output_norm(rng: np.random.Generator) -> Array:
        weights = plain_norm(rng)
        weights[-CONTROL:] *= CONTROL_LEAK
        return weights

    def head_norm(rng: np.random.Generator) -> Array:
        return (HEAD_NORM * rng.uniform(0.8, 1.2, shape.head_dim)).astype(np.float32)

    yield _Tensor("token_embd.weight", (len(vocabulary.tokens), dims), embeddings)
    for layer in range(layers):
        block = f"blk.{layer}"
        yield _Tensor(f"{block}.attn_norm.weight", (dims,), plain_norm)
        yield _Tensor(f"{block}.attn_q.weight", (queries, dims), query)
        yield _Tensor(f"{block}.attn_k.weight", (keys, dims), key)
        yield _Tensor(f"{block}.attn_v.weight", (keys, dims), value)
        yield _Tensor(f"{block}.attn_output.weight", (dims, queries), output)
        if shape.architecture == "qwen3":
            yield _Tensor(f"{block}.attn_q_norm.weight", (shape.head_dim,), head_norm)
            yield _Tensor(f"{block}.attn_k_norm.weight", (shape.head_dim,), head_norm)
        yield _Tensor(f"{block}.ffn_norm.weight", (dims,), ffn_norm)
        yield _Tensor(f"{block}.ffn_gate.weight", (ffn, dims), gate)
        yield _Tensor(f"{block}.ffn_up.weight", (ffn, dims), gate)
        yield _Tensor(f"{block}.ffn_down.weight", (dims, ffn), down)
    yield _Tensor("output_norm.weight", (dims,), output_norm)


def _gaussian(rng: np.random.Generator, rows: int, columns: int, scale: float) -> Array:
    return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)


def _from_content(rng: np.random.Generator, rows: int, dims: int, gain: float) -> Array:
    """A map that reads the content channels only and keeps their level, times ``gain``."""
    weights = _gaussian(rng, rows, dims, gain / np.sqrt(dims - CONTROL))
    weights[:, -CONTROL:] = 0
    return weights


def _to_content(rng: np.random.Generator, dims: int, columns: int, gain: float) -> Array:
    """A map that writes the content channels only, at its input's level times ``gain``."""
    weights = _gaussian(rng, dims, columns, gain / np.sqrt(columns))
    weights[-CONTROL:] = 0
    return weights


def _attention_input(
    rng: np.random.Generator, rows: int, dims: int, head_dim: int, signal: slice
) -> Array:
    """Weights of the queries (``signal`` the anchor) or the keys (``signal`` the rarity).

    Every row reads a little content and, from the anchor, a constant: two constant vectors turned
    by rotary positions give a score that depends on the distance alone. The slowest eighth of
    each head's rotary pairs carries the constant query times the key's rarity instead.
    """
    weights = _gaussian(rng, rows, dims, CONTENT_SCORE / np.sqrt(dims - CONTROL))
    weights[:, RARITY] = 0
    weights[:, ANCHOR] = _gaussian(rng, rows, 32, POSITION_SCORE / CONTROL_LEVEL / np.sqrt(32))
    pair = np.arange(rows) % (head_dim // 2)
    slow = pair >= head_dim // 2 * 7 // 8
    weights[slow] = 0
    weights[np.flatnonzero(slow), signal] = RARITY_SCORE / CONTROL_LEVEL / 32 * SIGNS
    return weights
