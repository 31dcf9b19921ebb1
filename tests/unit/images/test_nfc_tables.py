"""The tables of the normal form C, and for which models the server uses them."""

from __future__ import annotations

import re
import unicodedata

import pytest
from tokenizers import normalizers

from tools.facts.models import Model, load_models
from tools.images.nfc_tables import TABLES, tables
from tools.weights.recipe import Recipe

MODELS = load_models().models


def test_the_file_is_what_the_generator_writes() -> None:
    """On every Python: later Unicode versions add characters only, and these are left out."""
    assert TABLES.read_text(encoding="utf-8") == tables()


def test_the_library_knows_unicode_9() -> None:
    """U+1DF6 came with Unicode 10: where the library learns it, the tables must be made anew."""
    later = "x\u1df6\u0316"
    assert unicodedata.normalize("NFC", later) != later
    assert normalizers.NFC().normalize_str(later) == later


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_the_server_normalises_for_the_models_that_do(model: Model) -> None:
    source = TABLES.with_name("jina-nfc.cpp").read_text(encoding="utf-8")
    (pre,) = re.findall(r'tokenizer_pre == "([^"]+)"', source)
    assert (Recipe(model, "tiny", "Q8_0", 1).family.pre == pre) == model.nfc
