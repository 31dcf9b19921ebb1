"""The vocabulary of synthetic weights: every word of the corpus, and how telling each token is."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import cache

import numpy as np
from gguf import (
    TokenType,
)
from numpy.typing import NDArray

from tools.facts.corpus import load_corpus
from tools.weights.recipe import Array, Recipe, prefixes

PREFIX_RARITY = 0.8


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
accepts again agreed animal answer answers anything apple asks assigned backend background bank big
bird black blue boat book branches bread bridge brown builds caller callers cat chair changed child
city clock cloud code coffee cold column compare computer container costs country curve data day
days decides delete describe document dog door drops earth edit ends environment environments error
estimates everything example execution exit explain fast fewer file filtered fire fish fit flower
food foreground forest fox fresh friend garden glass green guide hand hangs header headers hello
help horse house ice idle image import imports island jumps key king lake language large last lasts
lazy leaves letter light limit line lines lives load logs long look machine main market memory
methods model money moon morning mountain music name network night ninety node number ocean order
otherwise output package page pair paper password people phone picture plan port price print prints
process prompt queen query quick rain raise rate reached red refused rehearse reload repeats replace
replaces reply reports request return returns river road run runtime school sea search server
session sessions shell ship short shorten single sleep slow smaller snow song spent star statement
station status stay stays stone stopped story street summer sun table task tea test text thirty time
town train travel tree unassigned user versions video wait wall warm water week white wind window
winter wood word words world year yellow
"""
_EVERYDAY_WORDS = frozenset(_EVERYDAY.split())

# The part of llama.cpp's llama-bpe and qwen2 patterns that yields words (src/llama-vocab.cpp).
_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\r\nA-Za-z0-9]?[A-Za-z]+")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in id order; ``code_of[i]`` is the first token that has the same code as token i."""

    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    code_of: NDArray[np.int64]
    rarity: Array
    bos: int
    eos: int


@cache
def _byte_alphabet() -> list[str]:
    """Return GPT-2's printable character for each byte (openai/gpt-2, src/encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    stand_ins = iter(range(256, 512))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(256)]


def _spell(text: str) -> str:
    return "".join(_byte_alphabet()[byte] for byte in text.encode())


def _words() -> list[str]:
    """Return every word that is to be one token, with the character before it that it keeps."""
    corpus = load_corpus()
    texts = [document.text for document in corpus.documents]
    texts += [text for search in corpus.searches for text in (search.text, search.lexical)]
    words = [f" {word}" for word in (_COMMON + _EVERYDAY).split()]
    for prefix in ("", *prefixes()):
        for text in texts:
            words += _WORD.findall(prefix + text)
    return words


def make_vocabulary(recipe: Recipe) -> Vocabulary:
    """Make a byte-level BPE vocabulary, filled up with tokens no text contains unless ``tiny``.

    A word is merged from its left end, character by character, so each of its beginnings is a
    token too. Merges of words that begin with a letter come last: they alone could also apply
    in the middle of another word.
    """
    words = {_spell(word): re.sub("[^a-z]", "", word.lower()) for word in _words()}
    pieces = {word[:end] for word in words for end in range(2, len(word) + 1)}
    merged = sorted(pieces, key=lambda piece: (piece[0].isascii() and piece[0].isalpha(), piece))
    texts = _byte_alphabet() + merged
    specials = [recipe.family.bos, recipe.family.eos]
    spare = recipe.model.shape.vocabulary - len(texts) - len(specials)
    filler = [f"<filler {number}>" for number in range(spare)] if recipe.size != "tiny" else []
    tokens = [*texts, *filler, *specials]

    keys, rarity = _meanings([*texts, *filler], words)
    first: dict[str, int] = {}
    return Vocabulary(
        tokens=tokens,
        types=[TokenType.NORMAL] * len(texts)
        + [TokenType.UNUSED] * len(filler)
        + [TokenType.CONTROL] * len(specials),
        merges=[f"{piece[:-1]} {piece[-1]}" for piece in merged],
        code_of=np.array(
            [first.setdefault(key, number) for number, key in enumerate([*keys, *specials])]
        ),
        rarity=np.array([*rarity, -1.0, -1.0], dtype=np.float32),
        bos=len(tokens) - 2,
        eos=len(tokens) - 1,
    )


def _meanings(tokens: list[str], words: dict[str, str]) -> tuple[list[str], list[float]]:
    """Return for each token the key of its code, and its rarity from -1 (empty) to 1 (telling).

    ``words`` maps a token's text to the bare word, by which all spellings share a code. The words
    of the prefixes have codes of their own, or a text about documents would match every prefix.
    """
    prefix_words = {word for prefix in prefixes() for word in _WORD.findall(prefix)}
    blanks = {_spell(character) for character in string.whitespace + string.punctuation}
    keys = []
    rarity = []
    for token in tokens:
        if token in prefix_words:
            keys.append(f"prefix {token}")
            rarity.append(PREFIX_RARITY)
        elif token in words:
            keys.append(f"word {words[token]}")
            rarity.append(_word_rarity(words[token]))
        else:
            keys.append(f"piece {token}")
            rarity.append(-1.0 if token in blanks else 0.0)
    return keys, rarity


def _word_rarity(word: str) -> float:
    if word in _COMMON_WORDS:
        return -1.0
    return 0.0 if word in _EVERYDAY_WORDS else 1.0
