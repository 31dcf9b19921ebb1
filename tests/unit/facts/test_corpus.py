"""The example corpus, and the errors of a corpus file that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.common.errors import ToolError
from tools.facts.corpus import CORPUS_FILE, Search, load_corpus
from tools.facts.models import load_models

CORPUS = load_corpus()
TEXTS = {document.id: document.text for document in CORPUS.documents}

#: Words that any two English texts may share.
FUNCTION_WORDS = {"a", "always", "and", "is", "my", "not", "of", "so", "the", "to", "why"}

VALID = """
[documents]
cat = "Cats sleep."

[[searches]]
text = "what naps"
lexical = "cats"
finds = "cat"
"""


def words(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower()))


def test_ten_documents_and_five_searches() -> None:
    assert len(CORPUS.documents) == len(set(TEXTS.values())) == 10
    assert len(CORPUS.searches) == len({search.finds for search in CORPUS.searches}) == 5


def test_texts_are_short_and_carry_no_prefix() -> None:
    models = load_models()
    for text in TEXTS.values():
        assert 2 <= len(re.findall(r"[.](?:\s|$)", text)) <= 4
        assert "\n" not in text
        assert not text.startswith((models.document_prefix, models.query_prefix))


@pytest.mark.parametrize("search", CORPUS.searches, ids=lambda search: search.finds)
def test_a_search_shares_no_telling_word_and_its_lexical_form_shares_many(
    search: Search,
) -> None:
    document = words(TEXTS[search.finds])
    assert not words(search.text) & document - FUNCTION_WORDS
    assert len(words(search.lexical) & document - FUNCTION_WORDS) >= 5


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('finds = "cat"', 'finds = "dog"', r"searches\[0\].finds: no document has the id 'dog'"),
        ('finds = "cat"', "", r"searches\[0\].finds: is missing"),
        ('lexical = "cats"', "lexical = 1", r"searches\[0\].lexical: must be a str"),
        ('text = "what naps"', 'text = ""', r"searches\[0\].text: must be a str that is not empty"),
        ('finds = "cat"', 'finds = "cat"\nrank = 1', r"searches\[0\].rank: unknown key"),
        ('cat = "Cats sleep."', "cat = []", r"documents.cat: must be a str"),
        ("[[searches]]", "[search]", r"searches: is missing"),
        ("[documents]", "[documents", "not valid TOML"),
    ],
)
def test_a_fault_names_the_file_and_the_key(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    path = tmp_path / "corpus.toml"
    path.write_text(VALID.replace(right, wrong))
    with pytest.raises(ToolError, match=rf"^corpus.toml: {message}"):
        load_corpus(path)


def test_the_valid_example_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "corpus.toml"
    path.write_text(VALID)
    assert load_corpus(path).searches[0].finds == "cat"


def test_a_missing_file_is_named() -> None:
    path = CORPUS_FILE.with_name("nowhere.toml")
    with pytest.raises(ToolError, match=r"nowhere.toml does not exist"):
        load_corpus(path)
