"""What a job stores: whole parts, in order, of one kind, by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.common.errors import ToolError
from tools.embed import pipeline
from tools.embed.parts import Asked, Parts, VectorsOf, end_of, written
from tools.embed.pipeline import AHEAD, Batch, PartWriter, batches, in_order
from tools.embed.servers import Servers
from tools.embed.source import Checked
from tools.embed.wanted import Vectors

ASKED = Asked(
    input="0f",
    column="text",
    keep=("id",),
    side="document",
    dimensions=None,
    type="float",
    model="nano",
    model_dimensions=768,
    numbers=2,
)
FOUND = Checked(100, {"id": "int64"})


def rows(first: int, count: int) -> Vectors:
    return np.arange(2 * first, 2 * (first + count), dtype=np.float32).reshape(count, 2)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    made = Parts(tmp_path / "output.npy")
    with made.locked():
        made.begin(ASKED, FOUND)
        yield made


def test_what_was_found_is_known_again(parts: Parts) -> None:
    assert parts.begun(ASKED) == FOUND


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(ASKED, input="1e"), "another input"),
        (replace(ASKED, column="body"), "another column"),
        (replace(ASKED, keep=()), "another keep"),
        (replace(ASKED, side="query"), r"another side \(document, and now query\)"),
        (replace(ASKED, dimensions=64), "another dimensions"),
        (replace(ASKED, type="int8"), "another type"),
        (replace(ASKED, model="small"), r"another model \(nano, and now small\)"),
        (replace(ASKED, model_dimensions=1024), "another model dimensions"),
        (replace(ASKED, numbers=3), "another numbers"),
    ],
)
def test_a_run_that_asks_for_something_else_is_refused(
    parts: Parts, other: Asked, said: str
) -> None:
    with pytest.raises(ToolError, match=f"{said}.*remove the folder"):
        parts.begun(other)


def test_a_folder_of_somebody_elses_is_refused(parts: Parts) -> None:
    (parts.folder / "manifest.json").write_text("{}")
    with pytest.raises(ToolError, match="not ours"):
        parts.begun(ASKED)


def test_two_runs_at_once_are_refused(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="another run"), Parts(tmp_path / "output.npy").locked():
        pass


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    made = Parts(tmp_path / "output.npy")
    with made.locked():
        assert made.folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_finished_does_not_count(parts: Parts) -> None:
    parts.add(0, rows(0, 10))

    def half() -> None:
        with written(parts.folder / "000000000010-5.npy", parts.folder) as path:
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert end_of(parts.all()) == 10


def test_a_part_that_is_gone_is_noticed(parts: Parts) -> None:
    for first in (0, 10, 20):
        parts.add(first, rows(first, 10))
    next(parts.folder.glob("*10-*.npy")).unlink()
    with pytest.raises(ToolError, match="no part with row 11"):
        parts.all()


def test_vectors_come_back_in_any_sizes(parts: Parts) -> None:
    first = 0
    for count in (10, 1, 25, 64):
        parts.add(first, rows(first, count))
        first += count
    vectors = VectorsOf(parts.all(), ASKED)
    taken = [vectors.take(count) for count in (5, 40, 54, 7, 7)]
    assert [len(each) for each in taken] == [5, 40, 54, 1, 0]
    assert np.array_equal(np.concatenate(taken), rows(0, 100))


def test_a_part_is_stored_when_it_is_large_or_old(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(pipeline, "ROWS_A_PART", 30)
    monkeypatch.setattr(pipeline, "SECONDS_A_PART", 10.0)
    monkeypatch.setattr("tools.embed.pipeline.time.monotonic", lambda: now)
    writer = PartWriter(parts, 0)
    stored = []
    for number, now in enumerate((0.0, 1.0, 2.0, 3.0, 12.9, 13.0, 14.0)):  # noqa: B007
        writer.add(rows(10 * number, 10))
        stored.append(writer.done)
    assert stored == [0, 0, 30, 30, 30, 60, 60]
    writer.flush()
    writer.flush()
    assert end_of(parts.all()) == 70


def test_what_is_stored_is_never_stored_behind_itself(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes when a part has its name, and what is held is stored once more."""
    writer = PartWriter(parts, 0)
    writer.add(rows(0, 10))
    store = parts.add

    def interrupted(first: int, vectors: Vectors) -> None:
        store(first, vectors)
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    monkeypatch.setattr(parts, "add", store)
    writer.flush()
    assert writer.done == end_of(parts.all()) == 10


def test_batches_hold_every_text_once_and_are_small_where_texts_are_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "MOST_BYTES", 100)
    texts = ["x" * length for length in (10, 10, 10, 10, 60, 60, 200, 10, 60)] + ["é" * 50]
    made = list(batches(iter(texts), 7, 4))
    assert [len(batch.texts) for batch in made] == [4, 2, 1, 3]
    assert [batch.first for batch in made] == [7, 11, 13, 14]
    assert [text for batch in made for text in batch.texts] == texts


def test_no_more_is_held_than_is_said() -> None:
    taken = 0

    def every() -> Iterator[Batch]:
        nonlocal taken
        for taken in range(1, 201):
            yield Batch(taken, ("text",))

    def embed(batch: Batch) -> Vectors:
        return rows(batch.first, 1)

    with Servers(["http://127.0.0.1:1"], None, 1) as servers:
        for number, vectors in enumerate(in_order(embed, every(), 3, servers), 1):
            assert np.array_equal(vectors, rows(number, 1))
            assert taken - number < 3 * AHEAD
    assert taken == 200
