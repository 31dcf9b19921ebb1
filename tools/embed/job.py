"""One job from its beginning, or from where an earlier run was, to its output."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.common.console import loud, rated_progress, say
from tools.common.downloads import file_sha256
from tools.common.errors import ToolError
from tools.embed.output import SUFFIXES, write_output
from tools.embed.parts import Asked, Parts, end_of
from tools.embed.pipeline import Batch, PartWriter, batches, embed_batch, in_order
from tools.embed.servers import Servers
from tools.embed.source import Checked, Source, open_source
from tools.embed.wanted import PATH, Vectors, Wanted

#: Inputs of a request, and requests at once for each server: two would keep it busy, and with four
#: it has work while answers are on their way.
BATCH, CONNECTIONS = 32, 4


@dataclass(frozen=True)
class Job:
    """What is embedded, by whom, and where the vectors go."""

    input: Path
    output: Path
    urls: Sequence[str]
    key: str | None = None
    column: str = "text"
    keep: Sequence[str] = ()
    side: str = "document"
    dimensions: int | None = None
    type: str = "float"
    truncate: bool = False
    batch: int = BATCH
    connections: int = CONNECTIONS


def run(job: Job) -> None:
    """Do what is left of a job. Raises ToolError where it cannot go on, and says what to do."""
    _check_output(job)
    parts = Parts(job.output)
    with parts.locked():
        if job.output.exists():
            # An earlier run was ended after it had written its output, which appears as a whole.
            parts.remove()
            say(f"{job.output} was finished by an earlier run")
            return
        source = open_source(job.input)
        with Servers(job.urls, job.key, job.connections) as servers:
            say(_finish(job, source, servers, parts))


def _finish(job: Job, source: Source, servers: Servers, parts: Parts) -> str:
    """Embed and write what is not there yet; what is said of all of it."""
    before = _stamp(job.input)
    model = servers.served()
    wanted = Wanted(model.model, job.side, job.dimensions, job.type, job.truncate)
    # One text shows whether the server takes the key, the size and the type.
    numbers = wanted.read(servers.ask(PATH, wanted.body(["text"])), 1).shape[1]
    asked = Asked(
        input=file_sha256(job.input),
        column=job.column,
        keep=job.keep,
        side=job.side,
        dimensions=job.dimensions,
        type=job.type,
        model=model.model,
        model_dimensions=model.dimensions,
        numbers=numbers,
    )
    found = parts.begun(asked)
    if found is None:
        found = _begin(job, source, parts, asked)
    embed = partial(embed_batch, servers, wanted, numbers)
    rate = _embed(job, source, servers, embed, parts=parts, rows=found.rows)
    if _stamp(job.input) != before:
        raise ToolError(
            f"{job.input} was changed while it was embedded; remove {parts.folder} to start anew"
        )
    say(f"writing {job.output}")
    write_output(job.output, source, asked, found, parts)
    parts.remove()
    return f"{job.output}: {found.rows:,} rows of {numbers} numbers ({job.type}){rate}"


def _stamp(path: Path) -> tuple[int, int]:
    """Return the size of a file and when it was changed last."""
    now = path.stat()
    return now.st_size, now.st_mtime_ns


def _check_output(job: Job) -> None:
    if job.output.suffix not in SUFFIXES:
        raise ToolError(f"{job.output}: the output is a file that ends in {' or '.join(SUFFIXES)}")
    if job.output.suffix == ".npy" and job.keep:
        raise ToolError("--keep: a .npy file has vectors only; write .parquet for more columns")
    if "embedding" in job.keep:
        raise ToolError("--keep embedding: the vectors are called so in the output")
    if not job.output.parent.is_dir():
        raise ToolError(f"{job.output}: there is no folder {job.output.parent}")
    if job.output.exists() and not Parts(job.output).has_begun():
        raise ToolError(f"{job.output} is there already; move it away, or name another output")


def _begin(job: Job, source: Source, parts: Parts, asked: Asked) -> Checked:
    """Read the whole input before hours of work on it, not after."""
    say(f"reading {job.input}")
    found = source.check(job.column, job.keep)
    if not found.rows:
        raise ToolError(f"{job.input} has no rows")
    parts.begin(asked, found)
    return found


def _embed(
    job: Job,
    source: Source,
    servers: Servers,
    embed: Callable[[Batch], Vectors],
    *,
    parts: Parts,
    rows: int,
) -> str:
    """Embed what no part has yet; what is said of the rate, if anything was embedded."""
    first = end_of(parts.all())
    if first:
        say(f"going on from row {first + 1:,} of {rows:,}")
    writer = PartWriter(parts, first)
    every = batches(source.texts(job.column, first), first, job.batch)
    began = time.monotonic()
    try:
        with (
            rated_progress(rows, "embed", "rows", done=first) as advance,
            closing(in_order(embed, every, job.connections * len(job.urls), servers)) as vectors,
        ):
            for some in vectors:
                writer.add(some)
                advance(len(some))
    except KeyboardInterrupt:
        writer.flush()
        loud(
            f"{writer.done:,} of {rows:,} rows are done, in {parts.folder}; the same "
            "command goes on from there"
        )
        raise
    finally:
        writer.flush()
    seconds = time.monotonic() - began
    return f", {(writer.done - first) / seconds:.1f} rows/s" if writer.done > first else ""
