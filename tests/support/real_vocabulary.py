"""The real vocabularies, as llama.cpp's source carries them, and the library that judges them.

nano's tokenizer is Llama 3's with four special tokens of its own, small's is Qwen2's with the
special tokens of Qwen3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from tools.common.cache import cache_dir
from tools.common.errors import ToolError
from tools.facts.images import GitOrigin, load_images
from tools.facts.models import Model
from tools.origins.trees import KEPT
from tools.weights.vocabulary import Vocabulary


@dataclass(frozen=True)
class Family:
    """What a model's tokenizer makes of a vocabulary of llama.cpp's.

    ``specials`` replaces special tokens by id, and ``size`` ends the list of tokens.
    ``ignores_merges``: a word that is a token is that token whatever the merges say.
    """

    file: str
    size: int
    specials: dict[int, str]
    end: str
    pattern: str
    ignores_merges: bool


_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Behind Qwen2's three: those that Qwen2.5 and Qwen3 added (their tokenizer_config.json).
_QWEN3 = """
<|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> <|quad_end|>
<|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call> </tool_call>
<|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response>
</tool_response> <think> </think>
"""

FAMILIES = {
    "nano": Family(
        file="llama-bpe",
        size=128_256,
        specials={
            128_000: "<|begin_of_text|>",
            128_001: "<|end_of_text|>",
            128_002: "<|mask|>",
            128_004: "<|pad|>",
        },
        end="<|end_of_text|>",
        pattern=_PATTERN.format(numbers=r"\p{N}{1,3}"),
        ignores_merges=True,
    ),
    "small": Family(
        file="qwen2",
        size=151_669,
        specials=dict(enumerate(_QWEN3.split(), start=151_646)),
        end="<|endoftext|>",
        pattern=_PATTERN.format(numbers=r"\p{N}"),
        ignores_merges=False,
    ),
}

#: The one special token that takes the blanks before it.
_TAKES_BLANKS = "<|mask|>"


def find_vocabulary(model: Model) -> Path:
    """Return a model's vocabulary, from any of llama.cpp's sources that the cache holds.

    Raises ToolError, saying what to do, where it holds none.
    """
    (kept,) = (each for each in KEPT if each.stem == f"ggml-vocab-{FAMILIES[model.name].file}")
    for origin in load_images().llama_cpp:
        folder = origin.commit if isinstance(origin, GitOrigin) else origin.sha256
        path = cache_dir() / "sources" / folder / kept
        if path.is_file():
            return path
    raise ToolError(
        f"no source of llama.cpp in {cache_dir() / 'sources'} holds {kept}; building an image "
        "brings one (sources of before this file was kept are to be removed first)"
    )


def read_vocabulary(model: Model, path: Path) -> Vocabulary:
    """Return the tokens of a model's own tokenizer."""
    family = FAMILIES[model.name]
    fields = GGUFReader(path).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()[: family.size]
    types = [TokenType(number) for number in fields["tokenizer.ggml.token_type"].contents()]
    types = types[: family.size]
    for number, token in family.specials.items():
        tokens[number] = token
        # As llama.cpp's converter marks them: by the bars, whatever the tokenizer's own list says.
        types[number] = TokenType.CONTROL if "|" in token else TokenType.USER_DEFINED
    end = tokens.index(family.end)
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=fields["tokenizer.ggml.merges"].contents(),
        code_of=np.arange(len(tokens)),
        rarity=np.zeros(len(tokens), dtype=np.float32),
        bos=tokens.index("<|begin_of_text|>") if model.name == "nano" else end,
        eos=end,
    )


def library_tokenizer(model: Model, vocabulary: Vocabulary) -> Tokenizer:
    """Return the tokenizers library's tokenizer, put together as the model's tokenizer.json is."""
    family = FAMILIES[model.name]
    of_text = {
        token: number
        for number, token in enumerate(vocabulary.tokens)
        if vocabulary.types[number] is TokenType.NORMAL
    }
    merges = [(first, second) for first, _, second in (m.partition(" ") for m in vocabulary.merges)]
    tokenizer = Tokenizer(models.BPE(of_text, merges, ignore_merges=family.ignores_merges))
    if model.nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = Sequence(
        [
            Split(Regex(family.pattern), behavior="isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken(token, normalized=False, lstrip=token == _TAKES_BLANKS)
            for number, token in enumerate(vocabulary.tokens)
            if vocabulary.types[number] is not TokenType.NORMAL
        ]
    )
    return tokenizer
