"""The input: every row in order, from any row on, and what is wrong with one is said before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.common.errors import ToolError
from tools.embed.source import Checked, open_source

ROWS = [{"id": number, "text": f"text {number}"} for number in range(1000)]


def jsonl(folder: Path, *lines: Any) -> Path:
    path = folder / "input.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def parquet_file(folder: Path, rows: list[dict[str, Any]], group: int = 64) -> Path:
    import pyarrow as pa  # noqa: PLC0415 - see the fixture `parquet`
    import pyarrow.parquet as pq  # noqa: PLC0415

    path = folder / "input.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


@pytest.mark.parametrize("first", [0, 1, 63, 64, 65, 640, 999, 1000])
def test_jsonl_is_read_from_any_row_on(tmp_path: Path, first: int) -> None:
    source = open_source(jsonl(tmp_path, *ROWS))
    assert list(source.texts("text", first)) == [row["text"] for row in ROWS[first:]]


@pytest.mark.parametrize("first", [0, 1, 63, 64, 65, 640, 999, 1000])
def test_parquet_is_read_from_any_row_on(parquet: None, tmp_path: Path, first: int) -> None:
    source = open_source(parquet_file(tmp_path, ROWS))
    assert list(source.texts("text", first)) == [row["text"] for row in ROWS[first:]]


def test_a_row_group_larger_than_what_is_read_at_a_time(parquet: None, tmp_path: Path) -> None:
    rows = [{"text": f"text {number}"} for number in range(10_000)]
    source = open_source(parquet_file(tmp_path, rows, group=9000))
    assert source.check("text", []).rows == 10_000
    for first in (0, 4096, 4097, 8999, 9000, 9001):
        assert list(source.texts("text", first)) == [row["text"] for row in rows[first:]]


def test_types_of_jsonl_hold_all_that_is_seen(parquet: None, tmp_path: Path) -> None:
    rows = [
        {"text": "a", "id": 1, "name": "x", "new": True, "score": 1},
        {"text": "b", "id": 2, "name": None, "score": 0.5},
    ]
    source = open_source(jsonl(tmp_path, *rows))
    found = source.check("text", ["id", "name", "new", "score"])
    types = {"id": "int64", "name": "string", "new": "bool", "score": "double"}
    assert found == Checked(2, types)
    (batch,) = source.kept(found.types, 10)
    assert batch.to_pylist() == [
        {"id": 1, "name": "x", "new": True, "score": 1.0},
        {"id": 2, "name": None, "new": None, "score": 0.5},
    ]


def test_parquet_keeps_its_types(parquet: None, tmp_path: Path) -> None:
    rows = [{"text": "a", "tags": ["x", "y"], "at": {"page": 3}} for _ in range(100)]
    source = open_source(parquet_file(tmp_path, rows))
    found = source.check("text", ["at", "tags"])
    kept = [row for batch in source.kept(found.types, 30) for row in batch.to_pylist()]
    assert kept == [{"at": row["at"], "tags": row["tags"]} for row in rows]


@pytest.mark.parametrize(
    ("lines", "keep", "said"),
    [
        (['{"text": "a"}', "", '{"text": "b"}'], [], "line 2 is blank"),
        (['{"text": "a"}', '{"text": '], [], "line 2 is not JSON"),
        (['"a"'], [], "line 1 is not an object"),
        ([{"text": "a"}, {"txt": "b"}], [], "row 2 has nothing in `text`.*--column"),
        ([{"text": 7}], [], "row 1 has 7 in `text`"),
        ([{"text": "a"}, {"text": ""}], [], "row 2 has an empty text"),
        (['{"text": "a\\ud83d"}'], [], "row 1 has half a character in `text`, at place 1"),
        ([{"text": "a"}], ["id"], "no row has anything in `id`"),
        ([{"text": "a", "id": 1}, {"text": "a", "id": "2"}], ["id"], "row 2 has a string in `id`"),
        ([{"text": "a", "id": [1]}], ["id"], r"row 1 has '\[1\]' in `id`; --keep takes"),
        ([{"text": "a", "id": 2**63}], ["id"], "row 1 has '9223372036854775808'"),
        ([{"text": "a", "id": 1}, {"text": "a", "id": True}], ["id"], "row 2 has a bool"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(
    tmp_path: Path, lines: list[Any], keep: list[str], said: str
) -> None:
    with pytest.raises(ToolError, match=said):
        open_source(jsonl(tmp_path, *lines)).check("text", keep)


def test_what_is_wrong_in_parquet_is_said_with_its_row(parquet: None, tmp_path: Path) -> None:
    source = open_source(parquet_file(tmp_path, [*ROWS[:99], {"id": 1, "text": None}]))
    with pytest.raises(ToolError, match="row 100 has nothing in `text`"):
        source.check("text", [])
    with pytest.raises(ToolError, match="no column `body`; it has id, text"):
        source.check("body", [])
    with pytest.raises(ToolError, match="row 1 has 0 in `id`"):
        source.check("id", [])


def test_files_that_are_no_input(parquet: None, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no such file"):
        open_source(tmp_path / "gone.jsonl")
    for name, said in (("rows.csv", "ends in .jsonl"), ("rows.parquet", "cannot be read as")):
        (tmp_path / name).write_text("text\na\n")
        with pytest.raises(ToolError, match=said):
            open_source(tmp_path / name)
