"""Texts become the tokens that the models' own library makes of them, on the real vocabularies.

The weights are random, of the true width and vocabulary. The tokenizers library judges, not the
server's own /tokenize.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.runtime.test_exact import is_exact_here
from tests.support.boots import MODELS, Served, each_model, plain, tiny, variables
from tests.support.client import Client, describe, vectors
from tests.support.containers import logs, with_model
from tests.support.flags import with_added_tokens
from tests.support.hard_texts import TEXTS, decomposed, random_mixes
from tests.support.published import published
from tests.support.real_vocabulary import (
    FAMILIES,
    find_vocabulary,
    library_tokenizer,
    read_vocabulary,
)
from tests.support.requirements import need
from tests.support.vectors import cosine
from tools.common.errors import ToolError
from tools.facts.models import Model, load_models
from tools.weights.synthetic import write_model

MIXES = 600
QUERY = load_models().query_prefix

#: What macOS and PDFs hold: letters and their marks, syllables and their parts.
DECOMPOSED = {
    name: decomposed(TEXTS[name]) for name in ("vietnamese", "german", "korean", "japanese")
}

#: A context that is soon full.
SHORT = {"LLAMA_ARG_CTX_SIZE": "512", "LLAMA_ARG_PARALLEL": "1"}


@dataclass(frozen=True)
class Judged:
    """A server on a real vocabulary, and the library's tokenizer of the same."""

    model: Model
    file: Path
    library: Tokenizer
    end: int
    server: Served
    client: Client

    def tokens(self, text: str) -> list[int]:
        """Return what the library makes of a text, the end token included."""
        return [*self.library.encode(text).ids, self.end]


@pytest.fixture(scope="module", params=MODELS.values(), ids=lambda model: model.name)
def judged(
    request: pytest.FixtureRequest,
    patched: str,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Judged]:
    """A server on a real vocabulary with random weights."""
    model: Model = request.param
    try:
        path = find_vocabulary(model)
    except ToolError as error:
        need(pytestconfig, "vocabularies", available=False, why=str(error))
        raise
    vocabulary = read_vocabulary(model, path)
    folder = tmp_path_factory.mktemp("tokens")
    folder.chmod(0o755)
    file = folder / f"real-vocabulary-{model.name}.gguf"
    write_model(file, model, size="wide", quantisation="Q8_0", vocabulary=vocabulary)
    file.chmod(0o644)
    library = library_tokenizer(model, vocabulary)
    with plain(patched, options=with_model(file)) as server, server.client() as client:
        yield Judged(model, file, library, vocabulary.eos, server, client)


def test_the_library_knows_the_vocabulary_as_the_server_does(judged: Judged) -> None:
    family = FAMILIES[judged.model.name]
    assert judged.library.get_vocab_size() == family.size
    for number, token in family.specials.items():
        assert judged.library.token_to_id(token) == number


@pytest.mark.parametrize("name", TEXTS)
def test_hard_texts_have_the_librarys_tokens(judged: Judged, name: str) -> None:
    for text in (TEXTS[name], decomposed(TEXTS[name])):
        assert judged.client.tokenize(text) == judged.tokens(text)


def test_random_mixes_have_the_librarys_tokens(judged: Judged) -> None:
    texts = random_mixes(MIXES, seed=18)
    other = [text for text in texts if judged.client.tokenize(text) != judged.tokens(text)]
    assert other == []


def test_every_character_has_the_librarys_tokens(judged: Judged) -> None:
    """Whatever a character decomposes to, alone and behind a letter."""
    characters = [chr(number) for number in range(0x20, 0x30000) if not 0xD800 <= number < 0xE000]
    made_of_others = [each for each in characters if decomposed(each) != each]
    marks = [each for each in characters if unicodedata.combining(each)]
    for letters in (made_of_others, [f"x{mark}\u0334\u0345" for mark in marks]):
        for form in (" ".join(letters), decomposed(" ".join(letters))):
            assert judged.client.tokenize(form) == judged.tokens(form)


def test_usage_and_vectors_follow(judged: Judged) -> None:
    """What is counted and embedded is what the library's tokens are, on each route."""
    client = judged.client
    texts = [*TEXTS.values(), *DECOMPOSED.values(), *random_mixes(40, seed=7)]
    for text in texts:
        tokens = judged.tokens(text)
        body = client.embeddings(text)
        assert body["usage"]["prompt_tokens"] == len(tokens), text
        assert_same(vectors(body), client.embed([tokens]))
        query = judged.tokens(QUERY + text)
        body = client.request("POST", "/query/v1/embeddings", json={"input": [text]}).json()
        assert body["usage"]["prompt_tokens"] == len(query), text
        assert_same(vectors(body), client.embed([query]))


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold vectors to the bytes, or to the angle where a batch may change the last digits."""
    if is_exact_here():
        np.testing.assert_array_equal(found, expected)
    assert cosine(found, expected).min() > 0.9999


@pytest.mark.parametrize("name", DECOMPOSED)
def test_a_decomposed_text_is_the_composed_one_where_the_model_says_so(
    judged: Judged, name: str
) -> None:
    text = DECOMPOSED[name]
    composed = unicodedata.normalize("NFC", text)
    assert composed != text
    found, expected = judged.client.embed([text]), judged.client.embed([composed])
    if judged.model.nfc:
        assert_same(found, expected)
    else:
        assert cosine(found, expected).max() < 0.99


def test_look_alikes_of_special_tokens_are_text(judged: Judged) -> None:
    """One token for </s> would be Qwen's own for those letters, which no text has."""
    for text in ("</s>", "a</s>b", "<s>x</s>"):
        assert judged.client.tokenize(text) == judged.tokens(text)


def test_what_others_have_published(judged: Judged, pytestconfig: pytest.Config) -> None:
    """The ids that nano's own tokenizer gives, to the server and to the judge."""
    name = judged.model.name
    need(pytestconfig, "published-figures", available=name in published(), why="of nano only")
    for text, ids in published()[name].tokens.items():
        assert judged.client.tokenize(text) == ids
        assert judged.tokens(text) == ids


# ------------------------------------------------------------------ a text that grows


def test_a_text_that_is_too_long_only_in_its_normal_form(judged: Judged, patched: str) -> None:
    """Its bytes alone would fit into the context, each a token."""
    text = "\U0001d160" * 100
    tokens = judged.tokens(text)
    assert len(text.encode()) < 500
    options = [*with_model(judged.file), *variables(SHORT)]
    with plain(patched, options=options) as server, server.client() as client:
        context = context_of(client)
        if not judged.model.nfc:
            assert len(tokens) <= context
            assert client.embeddings(text)["usage"]["prompt_tokens"] == len(tokens)
            return
        assert len(tokens) > context
        refused = client.request("POST", "/v1/embeddings", json={"input": text})
        assert refused.status_code == 400, describe(refused)
        assert str(len(tokens)) in refused.json()["error"]["message"]
        body = client.embeddings(text, truncate=True)
        assert body["data"][0]["truncated"] is True
        assert body["usage"]["prompt_tokens"] == context
        assert_same(vectors(body), client.embed([[*tokens[: context - 1], judged.end]]))


def context_of(client: Client) -> int:
    entry = client.request("GET", "/v1/models").json()["data"][0]
    return int(entry["context"])


# ------------------------------------------------------------------ what the file says


@contextmanager
def told(patched: str, model: str, folder: Path, *, before: bool, behind: bool) -> Iterator[Served]:
    """A server whose file says which tokens a text has around it."""
    file = with_added_tokens(tiny(MODELS[model]), folder, before=before, behind=behind)
    with plain(patched, options=[*with_model(file), *variables(SHORT)]) as server:
        yield server


@pytest.mark.parametrize("behind", [False, True], ids=["nothing behind", "a token behind"])
@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "a token before"])
@each_model
def test_the_file_says_which_tokens_are_around_a_text(
    patched: str, model: str, before: bool, behind: bool, tmp_path: Path
) -> None:
    long = " ".join(["kubernetes certificate renewal"] * 250)
    with (
        told(patched, model, tmp_path, before=before, behind=behind) as server,
        server.client() as client,
    ):
        context = context_of(client)
        said = [line for line in logs(server.container).splitlines() if " each text" in line]
        bare = client.tokenize("a text", add_special=False)
        whole = client.tokenize("a text")
        first, last = whole[: 1 if before else 0], whole[-1 if behind else len(whole) :]
        assert whole == [*first, *bare, *last]
        for side, tokens in (("before", first), ("behind", last)):
            (line,) = (each for each in said if f"token {side} each text" in each)
            assert (f"{tokens[0]} (" in line) if tokens else ("none" in line), line
        assert client.embeddings("a text")["usage"]["prompt_tokens"] == len(whole)
        assert_same(client.embed(["a text"]), client.embed([whole]))

        tokens = client.tokenize(long)
        assert len(tokens) > context
        kept = [*tokens[: context - len(last)], *last]
        body = client.embeddings(long, truncate=True)
        assert body["data"][0]["truncated"] is True
        assert body["usage"]["prompt_tokens"] == context
        assert_same(vectors(body), client.embed([kept]))

        # Tokens that a client made are cut alike, and must end as the file's texts do.
        cut = client.embeddings(tokens, truncate=True)
        assert_same(vectors(cut), vectors(body))
        endless = client.tokenize(long, add_special=False)
        if behind:
            body = {"input": endless, "truncate": True}
            refused = client.request("POST", "/v1/embeddings", json=body)
            assert refused.status_code == 400
            assert f"does not end with {last[0]}" in refused.json()["error"]["message"]
        else:
            cut = client.embeddings(endless, truncate=True)
            assert_same(vectors(cut), client.embed([endless[:context]]))
