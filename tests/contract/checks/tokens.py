"""Tokens: which ones a text becomes, as far as any server shows it."""

from __future__ import annotations

import unicodedata

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import same
from tests.contract.checks.sides import QUERY, WAYS, answered, ask
from tests.support.client import Client, vectors
from tests.support.server import Server
from tests.support.vectors import cosine

CHECKS = Checks()

#: Texts in the normal form C whose letters and syllables have parts.
COMPOSED = ("Tiếng Việt rất đẹp", "Äpfel und Öl für Größen", "한국어 맞춤법", "がぎぐげご パピプ")


@CHECKS.add(xfail="llama-server normalises no texts, and knows no sides")
def normal_form(server: Server, client: Client) -> None:
    """A text in decomposed characters is the composed one where the model's tokenizer says so.

    Elsewhere it is another text. It is so on each route, in ``usage``, and behind a prefix.
    """
    for composed in COMPOSED:
        text = unicodedata.normalize("NFD", composed)
        assert text != composed
        assert (client.tokenize(text) == client.tokenize(composed)) == server.model.nfc, composed
        found, expected = (client.embeddings([each]) for each in (text, composed))
        query = answered(ask(client, WAYS["query_path"], [text]))
        whole = client.embeddings([QUERY + composed])
        for one, other in ((found, expected), (query, whole)):
            is_same = cosine(vectors(one), vectors(other)).min() >= same(server)
            assert is_same == server.model.nfc, composed
            assert one["usage"] == other["usage"] or not server.model.nfc, composed


@CHECKS.add()
def look_alikes_are_text(_server: Server, client: Client) -> None:
    """</s> in a text is those four characters, as </t> is, not the end of anything."""
    alike = [client.tokenize(f"an <{letter}>old</{letter}> word") for letter in "st"]
    assert len(alike[0]) == len(alike[1])
    assert sum(a != b for a, b in zip(*alike, strict=True)) == 2
