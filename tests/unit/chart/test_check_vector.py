"""The script of the helm test tells a vector of the right length from everything else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx

from tests.support.toy.server import ToyServer
from tools.facts.models import load_models
from tools.facts.paths import CHART

MODEL = load_models().models["nano"]


def check_vector(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the pod does: given to the shell, in an environment of its own."""
    address = httpx.URL(url)
    where = {"HOST": address.host, "PORT": str(address.port), "PREFIX": ""}
    settings = {**where, "DIMENSIONS": str(MODEL.dims), **variables}
    return subprocess.run(
        ["bash", "-c", (CHART / "files" / "check-vector.sh").read_text()],
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_vector_of_the_right_length_passes() -> None:
    with ToyServer(MODEL) as toy:
        answer = check_vector(toy.described().base_url)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"a vector of {MODEL.dims} numbers\n"


def test_another_length_fails_and_is_said() -> None:
    with ToyServer(MODEL) as toy:
        answer = check_vector(toy.described().base_url, DIMENSIONS="1024")
    assert answer.returncode == 1
    assert answer.stderr == f"the vector has {MODEL.dims} numbers and not 1024\n"


def test_an_error_fails_and_is_said() -> None:
    with ToyServer(MODEL) as toy:
        answer = check_vector(toy.described().base_url, PREFIX="/nowhere")
    assert answer.returncode == 1
    assert answer.stderr.startswith("no vector in the answer: HTTP/1.")


def test_a_key_is_sent(tmp_path: Path) -> None:
    key = tmp_path / "client"
    key.write_text("a-secret\n")
    with ToyServer(MODEL, api_key="a-secret") as toy:
        url = toy.described().base_url
        assert check_vector(url).returncode == 1
        assert check_vector(url, KEY_FILE=str(key)).returncode == 0


def test_no_server_fails() -> None:
    with ToyServer(MODEL) as toy:
        url = toy.described().base_url
    assert check_vector(url).returncode != 0
