"""Compare `nox -s embed` with the load of the benchmark, on a server that runs: `-- --bulk URL`.

The load is batches by as many clients, whose answers are counted and thrown away: as fast as the
server gets. The job also reads a file, keeps order, and stores every vector for good. Both send
texts of the same length, no two alike, and take turns: what else happens on the machine falls on
both, so a ratio within a round is worth more than any rate.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.bench.load import send_all
from tools.bench.statistics import ratios
from tools.bench.workloads import random_texts
from tools.common.console import progress
from tools.common.files import temporary_folder
from tools.embed.connection import checked_url
from tools.embed.job import BATCH, CONNECTIONS, Job, run

ROUNDS = 11
HEADER = ("texts of 128 tokens", "texts/s", "times the load", "95 % of the median")
#: A row under HEADER.
Row = tuple[str, str, str, str]

_TOKENS = 128
#: Requests by which it is found how many texts a turn has.
_FIRST = 2 * CONNECTIONS
#: Seconds of a turn: so long that a job's beginning and end weigh as little as in hours of work.
SECONDS = 20.0


def _texts(seed: int, count: int) -> list[str]:
    # A number first: no two texts begin alike, of which a server may keep what it computed.
    words = random_texts(np.random.default_rng(seed), count, _TOKENS)
    return [f"{seed} {number}{text}" for number, text in enumerate(words)]


def load_rate(url: str, texts: Sequence[str]) -> float:
    """Return the texts per second that clients get who do nothing with the answers."""
    bodies = [
        json.dumps(
            {
                "input": texts[at : at + BATCH],
                "input_type": "document",
                "encoding_format": "base64",
            }
        ).encode()
        for at in range(0, len(texts), BATCH)
    ]
    return len(texts) / send_all(url, bodies, clients=CONNECTIONS, vectors=BATCH).seconds


def job_rate(url: str, texts: Sequence[str], folder: Path) -> float:
    """Return the texts per second of a whole job, from its start to its output."""
    source, output = folder / "texts.jsonl", folder / "vectors.npy"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    began = time.perf_counter()
    run(Job(source, output, [url]))
    seconds = time.perf_counter() - began
    output.unlink()
    return len(texts) / seconds


def compare(url: str, rounds: int, seconds: float = SECONDS) -> list[Row]:
    """Return the rates of both, and the job's as a share of the load's.

    A turn of one takes about so many seconds. Raises ToolError where the server does not answer.
    """
    url = checked_url(url)
    found = load_rate(url, _texts(0, _FIRST * BATCH))
    count = max(_FIRST, round(found * seconds / BATCH)) * BATCH
    loads, jobs = [], []
    with temporary_folder() as folder, progress(2 * rounds, "bulk", unit=" turns") as advance:
        for number in range(1, rounds + 1):
            for turn in (number, number + 1):
                texts = _texts(2 * number + turn % 2, count)
                if turn % 2:
                    loads.append(load_rate(url, texts))
                else:
                    jobs.append(job_rate(url, texts, folder))
                advance(1)
    share = ratios(jobs, loads)
    return [
        (f"load, {CONNECTIONS} clients, batches of {BATCH}", f"{np.median(loads):.1f}", "", ""),
        (
            "nox -s embed",
            f"{np.median(jobs):.1f}",
            f"{share.median:.3f}",
            f"{share.low:.3f} to {share.high:.3f}",
        ),
    ]
