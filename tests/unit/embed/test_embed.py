"""Whole jobs: every row once, in order, with the vectors of single requests, whatever happens."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.bulk import (
    finished,
    killed_once_it_has_stored_more,
    parts_of,
    started,
    wait_for_parts,
    write_jsonl,
)
from tests.support.client import Client
from tests.support.refusals import RefusalError
from tests.support.toy.embeddings import ToyEmbeddings
from tests.support.toy.forms import ToyForms
from tests.support.toy.server import ToyServer
from tests.support.waiting import HANG_SECONDS, wait_until
from tests.unit.embed.conftest import NANO
from tools.common.errors import ToolError
from tools.embed import pipeline
from tools.embed.__main__ import api_key, main
from tools.embed.job import Job, run
from tools.embed.parts import Parts
from tools.embed.wanted import TYPES, Vectors
from tools.facts.models import load_models
from tools.facts.paths import ROOT

#: Of different lengths, so that no two batches of them are answered as fast.
TEXTS = [f"text {number}" + " and more" * (number % 7) for number in range(500)]


def single(url: str, texts: list[str], numbers: str = "float", **fields: Any) -> Vectors:
    """The vectors that single requests have, as lists of numbers."""
    with Client(url) as client:
        answers = [
            client.embeddings(text, input_type="document", output_dtype=numbers, **fields)
            for text in texts
        ]
    return np.array([each["data"][0]["embedding"] for each in answers], TYPES[numbers])


@pytest.fixture
def job(tmp_path: Path, url: str) -> Job:
    """A job of many small batches."""
    write_jsonl(tmp_path / "input.jsonl", TEXTS)
    return Job(tmp_path / "input.jsonl", tmp_path / "output.npy", [url], batch=7)


def test_every_row_has_the_vector_of_a_single_request(
    job: Job, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(job)
    assert np.load(job.output).tobytes() == single(url, TEXTS).tobytes()
    said = capsys.readouterr()
    assert f"{job.output}: 500 rows of 768 numbers (float), " in said.out
    assert "embed: 500 of 500 rows" in said.err
    assert [path.name for path in job.output.parent.iterdir()] == ["input.jsonl", "output.npy"]


@pytest.mark.parametrize("numbers", TYPES)
@pytest.mark.parametrize("dimensions", [None, 64])
def test_each_type_is_as_the_server_gives_it(
    job: Job, url: str, numbers: str, dimensions: int | None
) -> None:
    write_jsonl(job.input, TEXTS[:20])
    run(replace(job, type=numbers, dimensions=dimensions))
    size = {} if dimensions is None else {"dimensions": dimensions}
    expected = single(url, TEXTS[:20], numbers, **size)
    found = np.load(job.output)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_a_search_has_the_other_side(job: Job, url: str) -> None:
    run(replace(job, side="query"))
    with Client(url) as client:
        expected = client.embed([f"Query: {text}" for text in TEXTS])
    assert np.array_equal(np.load(job.output), expected)


@pytest.mark.parametrize("numbers", ["float", "ubinary"])
@pytest.mark.parametrize("given", ["jsonl", "parquet"])
def test_parquet_has_the_kept_columns_beside_the_vectors(
    parquet: None, job: Job, url: str, numbers: str, given: str
) -> None:
    import pyarrow as pa  # noqa: PLC0415 - see the fixture `parquet`
    import pyarrow.parquet as pq  # noqa: PLC0415

    if given == "parquet":
        table = pa.table({"text": TEXTS, "id": range(500), "more": [["a", "b"]] * 500})
        job = replace(job, input=job.input.with_suffix(".parquet"))
        pq.write_table(table, job.input, row_group_size=90)
    job = replace(job, output=job.output.with_suffix(".parquet"), keep=["id"], type=numbers)
    run(job)
    written = pq.read_table(job.output)
    assert written.column_names == ["id", "embedding"]
    assert written["id"].to_pylist() == list(range(500))
    expected = single(url, TEXTS, numbers)
    assert written.schema.field("embedding").type.list_size == expected.shape[1]
    assert np.array_equal(np.array(written["embedding"].to_pylist(), expected.dtype), expected)


def test_parquet_of_vectors_alone_has_large_row_groups(
    parquet: None, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - see the fixture `parquet`

    monkeypatch.setattr(pipeline, "ROWS_A_PART", 30)
    job = replace(job, output=job.output.with_suffix(".parquet"))
    run(job)
    assert pq.read_metadata(job.output).num_row_groups == 1
    assert pq.read_table(job.output).column_names == ["embedding"]


def test_two_servers_do_one_job(job: Job, url: str) -> None:
    with ToyServer(NANO) as other:
        run(replace(job, urls=[url, other.described().base_url]))
        done = other.metrics.inputs
    assert np.load(job.output).tobytes() == single(url, TEXTS).tobytes()
    assert done > 0


# ------------------------------------------------------------------ what happens on the way


class Rationed(ToyEmbeddings):
    """Answers so many requests of several texts, and lets the others wait for more."""

    left: threading.Semaphore

    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        if isinstance(request.get("input"), list) and len(request["input"]) > 1:
            self.left.acquire(timeout=HANG_SECONDS)
        return super().answer(request, path_side)


def test_a_job_that_is_killed_three_times_has_every_row_once(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(2000)]
    output = tmp_path / "output.npy"
    arguments = [write_jsonl(tmp_path / "input.jsonl", texts), output, "--batch", "8"]
    Rationed.left = threading.Semaphore(0)
    with ToyServer(NANO, Rationed) as toy:
        url = toy.described().base_url
        try:
            for _ in range(3):
                # As many as may be under way at once, those of a killed run, and a part.
                Rationed.left.release(16 + 4 + 10)
                killed_once_it_has_stored_more(*arguments, "--url", url, output=output)
        finally:
            Rationed.left.release(10_000)
        said = finished(*arguments, "--url", url)
        assert "going on from row " in said
        assert np.load(output).tobytes() == single(url, texts).tobytes()
        assert toy.metrics.inputs < 2 * len(texts) + 2000
    assert not parts_of(output)


@contextmanager
def toy_process(port: int) -> Iterator[str]:
    """A server that is killed at the end, with all its connections."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.toy", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


def test_a_server_that_goes_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    output = tmp_path / "output.npy"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    texts = [f"text {number}" for number in range(3000)]
    with toy_process(port) as url:
        job = started(write_jsonl(tmp_path / "input.jsonl", texts), output, "--url", url)
        wait_for_parts(job, output, 2)
        assert job.poll() is None, job.communicate()
    with toy_process(port) as url:
        out, err = job.communicate(timeout=HANG_SECONDS * 5)
        assert job.returncode == 0, err
        assert "3,000 rows" in out
        assert np.load(output).tobytes() == single(url, texts).tobytes()


def test_another_model_that_comes_back_ends_the_job(job: Job) -> None:
    class Changing(ToyEmbeddings):
        def answer(
            self, request: Mapping[str, Any], path_side: str | None = None
        ) -> dict[str, Any]:
            answer = super().answer(request, path_side)
            return {**answer, "model": "other"} if self.metrics.inputs > 100 else answer

    with ToyServer(NANO, Changing) as toy, pytest.raises(ToolError, match="of the model other"):
        run(replace(job, urls=[toy.described().base_url]))


class Busy(ToyEmbeddings):
    """Refuses every third request for now."""

    asked = 0

    def answer(self, request: Mapping[str, Any], path_side: str | None = None) -> dict[str, Any]:
        type(self).asked += 1
        if self.asked % 3 == 0:
            raise RefusalError(503, "overloaded_error", "too much waits", {"Retry-After": "0"})
        return super().answer(request, path_side)


def test_a_busy_server_loses_no_row(job: Job, url: str) -> None:
    with ToyServer(NANO, Busy) as toy:
        run(replace(job, urls=[toy.described().base_url]))
    assert Busy.asked > 70
    assert np.load(job.output).tobytes() == single(url, TEXTS).tobytes()


def test_a_text_that_is_too_long_ends_it_with_its_row_and_truncate_goes_on(
    job: Job, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "ROWS_A_PART", 50)
    texts = [*TEXTS[:300], "word " * 9000, *TEXTS[300:]]
    write_jsonl(job.input, texts)
    with pytest.raises(ToolError, match=r"row 301 is refused: .*answered 400.*--truncate"):
        run(job)
    assert parts_of(job.output)
    assert not job.output.exists()
    run(replace(job, truncate=True))
    assert "going on from row " in capsys.readouterr().out
    assert np.load(job.output).tobytes() == single(url, texts, truncate=True).tobytes()


def test_what_the_server_cannot_do_is_said_before_the_input_is_read(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ToolError, match="dimensions must be one of"):
        run(replace(job, dimensions=100))
    with ToyServer(NANO, api_key="secret") as toy:
        job = replace(job, urls=[toy.described().base_url])
        with pytest.raises(ToolError, match="wants a key"):
            run(job)
        assert "reading" not in capsys.readouterr().out
        assert [path.name for path in job.output.parent.iterdir()] == ["input.jsonl"]
        run(replace(job, key="secret"))


def stopped_in_the_middle(job: Job) -> None:
    """Leave a job as one that was killed leaves it."""
    Rationed.left = threading.Semaphore(40)
    with ToyServer(NANO, Rationed) as toy:
        urls = [toy.described().base_url]
        arguments = [job.input, job.output, "--url", *urls, "--batch", "7"]
        killed_once_it_has_stored_more(*arguments, output=job.output)
        Rationed.left.release(1000)


def test_other_settings_are_refused_until_the_parts_are_removed(job: Job, url: str) -> None:
    stopped_in_the_middle(job)
    stored = parts_of(job.output)
    for other, said in (
        (replace(job, side="query"), "another side"),
        (replace(job, type="int8"), "another type"),
        (replace(job, dimensions=64), "another dimensions"),
    ):
        with pytest.raises(ToolError, match=f"{said} .*or remove the folder"):
            run(other)
    with (
        ToyServer(load_models().models["small"]) as small,
        pytest.raises(ToolError, match=r"another model \(.*nano.*small"),
    ):
        run(replace(job, urls=[small.described().base_url]))
    job.input.write_text(job.input.read_text() + '{"text": "one more"}\n')
    with pytest.raises(ToolError, match="another input"):
        run(job)
    assert parts_of(job.output) == stored
    for path in Parts(job.output).folder.iterdir():
        path.unlink()
    run(job)
    assert np.load(job.output).shape == (501, 768)


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_ended_says_how_to_go_on(job: Job, signal_: signal.Signals) -> None:
    Rationed.left = threading.Semaphore(40)
    with ToyServer(NANO, Rationed) as toy:
        url = toy.described().base_url
        running = started(job.input, job.output, "--url", url, "--batch", "7", rows_a_part=100)
        wait_for_parts(running, job.output, 0)
        # What is under way waits for the server, and must not hold the end up.
        wait_until(lambda: not Rationed.left._value, "nothing more is answered")
        running.send_signal(signal_)
        _, err = running.communicate(timeout=HANG_SECONDS / 2)
        Rationed.left.release(1000)
    assert running.returncode == 128 + signal_
    done = sum(part.rows for part in Parts(job.output).all())
    assert f"{done} of 500 rows are done, in {job.output}.parts; the same command" in err
    assert done > 100, "what was answered was thrown away"


def test_a_run_that_was_killed_after_its_output_has_nothing_left_to_do(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(job)
    made = job.output.read_bytes()
    run(replace(job, urls=["http://127.0.0.1:1"]))
    assert "was finished by an earlier run" in capsys.readouterr().out
    assert job.output.read_bytes() == made
    assert [path.name for path in job.output.parent.iterdir()] == ["input.jsonl", "output.npy"]
    with pytest.raises(ToolError, match="is there already"):
        run(job)


def test_a_server_that_gives_another_size_ends_the_job(job: Job, url: str) -> None:
    class Short(ToyForms):
        def written(self, vector: Any, wanted: Any) -> list[Any] | str:
            return super().written(vector[:512], wanted)

    with ToyServer(NANO, Short) as short:
        urls = [url, short.described().base_url]
        with pytest.raises(ToolError, match=r"vectors of \d+ numbers.*--dimensions"):
            run(replace(job, urls=urls))


# ------------------------------------------------------------------ the command line


def test_the_verb_takes_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "another")
    (tmp_path / "key").write_text("secret\nsecond\n")
    source = tmp_path / "rows.ndjson"
    source.write_text('{"body": "a text"}\n{"body": "another"}\n')
    with ToyServer(NANO, api_key="secret") as toy:
        options = f"""
            {source} {tmp_path / "o.npy"} --url {toy.described().base_url}/v1
            --api-key-file {tmp_path / "key"} --column body --side query --dimensions 32
            --type int8 --truncate --batch 1 --connections 2
        """
        main(options.split())
        assert toy.metrics.embeddings == 3
    assert np.load(tmp_path / "o.npy").shape == (2, 32)


def test_keys_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_API_KEY", raising=False)
    assert api_key(None) is None
    monkeypatch.setenv("LLAMA_API_KEY", "one,two")
    assert api_key(None) == "one"
    (tmp_path / "key").write_text("\n")
    for name, said in (("key", "first line is empty"), ("gone", "No such file")):
        with pytest.raises(ToolError, match=said):
            api_key(tmp_path / name)


@pytest.mark.parametrize(
    ("output", "options", "said"),
    [
        ("o.csv", [], "ends in .parquet or .npy"),
        ("o.npy", ["--keep", "id"], "--keep: a .npy file has vectors only"),
        ("o.parquet", ["--keep", "embedding"], "vectors are called so"),
        ("gone/o.npy", [], "there is no folder"),
        ("o.npy", ["--url", "localhost"], "--url localhost: write it as"),
        ("o.npy", ["--url", "http://127.0.0.1:1"], "no embedding server answers.*nox -s up"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, output: str, options: list[str], said: str) -> None:
    source = write_jsonl(tmp_path / "input.jsonl", TEXTS)
    with pytest.raises(ToolError, match=said):
        main([str(source), str(tmp_path / output), *options])
    assert [path.name for path in tmp_path.iterdir()] == ["input.jsonl"]


def test_an_input_without_rows_is_said(job: Job) -> None:
    job.input.write_text("")
    with pytest.raises(ToolError, match="has no rows"):
        run(job)


def test_an_input_that_changes_meanwhile_is_noticed(job: Job) -> None:
    class Appending(ToyEmbeddings):
        def answer(
            self, request: Mapping[str, Any], path_side: str | None = None
        ) -> dict[str, Any]:
            with job.input.open("a") as file:
                file.write('{"text": "one more"}\n')
            return super().answer(request, path_side)

    with ToyServer(NANO, Appending) as toy:
        changing = replace(job, urls=[toy.described().base_url])
        with pytest.raises(ToolError, match="was changed while it was embedded; remove"):
            run(changing)
    assert not job.output.exists()


def test_a_disk_that_is_full_is_said(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_jsonl(tmp_path / "input.jsonl", TEXTS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tools.embed.parts.np.save", full)
    with pytest.raises(ToolError, match="No space left on device; when that is mended"):
        main([str(source), str(tmp_path / "o.npy"), "--url", url])
