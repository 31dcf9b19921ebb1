"""A bulk job against the image: killed three times, with the vectors of single requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.boots import MODELS, Case, each_model, served
from tests.support.bulk import finished, killed_once_it_has_stored_more, write_jsonl
from tests.support.work import texts

#: Seconds of work on tiny weights, of which a part of 50 rows is a small share.
ROWS = texts(4000, 20)


@each_model
def test_a_job_that_is_killed_three_times_has_every_row_once(
    patched: str, model: str, tmp_path: Path
) -> None:
    source, output = write_jsonl(tmp_path / "input.jsonl", ROWS), tmp_path / "output.npy"
    with served(patched, Case(MODELS[model], "plain")) as server, server.client() as client:
        arguments = (source, output, "--url", server.base_url, "--batch", "8")
        for _ in range(3):
            killed_once_it_has_stored_more(*arguments, output=output)
        assert "going on from row " in finished(*arguments)
        found = np.load(output)
        assert found.shape == (len(ROWS), MODELS[model].dims)
        for row in range(0, len(ROWS), 40):
            (alone,) = client.embed([ROWS[row]], input_type="document", encoding_format="base64")
            assert found[row].tobytes() == alone.tobytes(), f"row {row + 1}"
    assert len({row.tobytes() for row in found}) == len(ROWS)
