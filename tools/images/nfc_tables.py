"""Write the tables of jina-nfc.cpp: `python -m tools.images.nfc_tables`.

The numbers are those of Python's unicodedata: Unicode never changes those of a character once it
is there. Which characters are in is the tokenizers library's word, by which the server is judged:
its normaliser has the characters of Unicode 9.0, and leaves later ones as they are.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence

from tokenizers import normalizers

from tools.images.recipe import PATCHES

TABLES = PATCHES / "files" / "src" / "jina-nfc-data.h"

#: Characters of more than one number, in UTF-16, and Hangul, which is computed.
SURROGATES = range(0xD800, 0xE000)
SYLLABLES = range(0xAC00, 0xD7A4)
#: The vowels and final consonants that Hangul's syllables are composed with.
JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))

#: Marks of combining class 1 and 240, the ends of the order.
FIRST_CLASS, LAST_CLASS = "\u0334", "\u0345"

_LIBRARY = normalizers.NFD()

_HEAD = """\
// The tables of NFC, as of Unicode 9.0; made by `python -m tools.images.nfc_tables`.

#pragma once

#include <cstdint>

// Characters that stand behind others: all from `first` to `last` have one combining class, and
// change by NFC, or what is before them, or not.
struct jina_nfc_mark {
    uint32_t first;
    uint32_t last;
    uint8_t  combining;
    bool     may_change;
};

// A character and the two that it is made of, the second 0 where it is another spelling of the
// first. Where not `composes`, NFC leaves the two apart.
struct jina_nfc_pair {
    uint32_t whole;
    uint32_t first;
    uint32_t second;
    bool     composes;
};
"""


def main() -> None:
    """Write the tables into the file that the build lays over llama.cpp's tree."""
    TABLES.write_text(tables(), encoding="utf-8")


def tables() -> str:
    """Return the text of jina-nfc-data.h."""
    pairs = [
        f"{{{_hex(whole)}, {_hex(first)}, {_hex(second)}, {int(composes)}}}"
        for whole, first, second, composes in _pairs()
    ]
    marks = [
        f"{{{_hex(first)}, {_hex(last)}, {combining}, {int(may_change)}}}"
        for first, last, combining, may_change in _marks()
    ]
    return "\n".join(
        [
            _HEAD,
            *_array("jina_nfc_mark JINA_NFC_MARKS[]", marks),
            "",
            *_array("jina_nfc_pair JINA_NFC_PAIRS[]", pairs),
            "",
        ]
    )


def _array(declaration: str, rows: Sequence[str]) -> Iterator[str]:
    """Write an array, four rows a line."""
    yield f"static const {declaration} = {{"
    for start in range(0, len(rows), 4):
        yield f"    {', '.join(rows[start : start + 4])},"
    yield "};"


def _hex(number: int) -> str:
    return f"0x{number:X}" if number else "0"


def _characters() -> Iterator[str]:
    return (chr(number) for number in range(0x110000) if number not in SURROGATES)


def _pairs() -> Iterator[tuple[int, int, int, bool]]:
    """Yield each character that is made of others, those, and whether NFC composes it."""
    for character in _characters():
        made_of = unicodedata.decomposition(character)
        if not made_of or made_of.startswith("<") or not _library_knows(character):
            continue
        first, second = [int(number, 16) for number in (*made_of.split(), "0")][:2]
        composes = unicodedata.normalize("NFC", character) == character
        yield ord(character), first, second, composes


def _library_knows(character: str) -> bool:
    return _LIBRARY.normalize_str(character) != character


def _marks() -> Iterator[tuple[int, int, int, bool]]:
    """Yield the ranges of characters at which a text may not be in NFC."""
    changing = {*JAMO}
    for whole, _, second, composes in _pairs():
        changing.add(second if composes else whole)

    def facts(number: int) -> tuple[int, bool]:
        character = chr(number)
        combining = unicodedata.combining(character)
        if combining and not _library_orders(character, combining):
            combining = 0
        return combining, number in changing

    numbers = (ord(each) for each in _characters() if ord(each) not in SYLLABLES)
    known = ((number, *facts(number)) for number in numbers)
    marks = [each for each in known if each[1:] != (0, False)]
    # Neighbours alike have one row: their numbers and their places in the list rise together.
    alike = itertools.groupby(
        enumerate(marks), key=lambda each: (each[1][0] - each[0], each[1][1:])
    )
    for _, rows in alike:
        group = [row for _, row in rows]
        yield group[0][0], group[-1][0], *group[0][1:]


def _library_orders(character: str, combining: int) -> bool:
    """Whether the library sorts a mark into the order of the classes, as it does those it knows."""
    unsorted = character + FIRST_CLASS if combining > 1 else LAST_CLASS + character
    return _LIBRARY.normalize_str(unsorted) != unsorted


if __name__ == "__main__":
    main()
