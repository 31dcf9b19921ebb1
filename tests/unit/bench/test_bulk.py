"""The comparison of a bulk job with the load: both send as many texts, and none twice."""

from __future__ import annotations

import json

import pytest

from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.server import ToyServer
from tools.bench import bulk
from tools.common.errors import ToolError
from tools.facts.models import load_models


class Counting(ToyEmbeddings):
    """Keeps all texts that it is asked for."""

    texts: list[str]

    def loaded(self, body: bytes) -> dict[str, object]:
        request = super().loaded(body)
        self.texts.extend(request["input"])
        return request


def test_both_send_as_many_texts_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    Counting.texts = []
    with ToyServer(load_models().models["nano"], Counting) as toy:
        rows = bulk.compare(toy.described().base_url + "/v1", rounds=2, seconds=0)
    assert [row[0].partition(",")[0] for row in rows] == ["load", "nox -s embed"]
    assert all(float(row[1]) > 0 for row in rows)
    texts = [text for text in Counting.texts if text != "text"]
    turn = 2 * bulk._FIRST
    assert len(texts) == len(set(texts)) == turn + 4 * turn
    assert len(Counting.texts) - len(texts) == 2, "each of the two jobs asks for one more"


def test_a_turn_has_texts_of_one_length() -> None:
    lengths = {len(text.split()) for text in bulk._texts(1, 100)}
    assert lengths == {2 + 127}
    assert json.dumps(bulk._texts(1, 3)) == json.dumps(bulk._texts(1, 3))


def test_a_server_that_is_gone_is_said() -> None:
    with pytest.raises(ToolError, match="did not answer"):
        bulk.compare("http://127.0.0.1:1", rounds=1)
