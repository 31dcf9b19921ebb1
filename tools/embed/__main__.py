"""Embed a corpus of any size with one server or several: `nox -s embed -- INPUT OUTPUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.common.errors import ToolError, run_verb
from tools.embed.connection import checked_url
from tools.embed.job import BATCH, CONNECTIONS, Job, run
from tools.embed.wanted import SIDES, TYPES
from tools.serving.client import own_key

URL = "http://localhost:8080"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s embed --", description=main.__doc__)
    parser.add_argument("input", type=Path, help=".jsonl, .ndjson or .parquet")
    parser.add_argument("output", type=Path, help=".parquet, or .npy with the vectors alone")
    parser.add_argument(
        "--url",
        nargs="+",
        default=[URL],
        help="servers of the same model (default: %(default)s); their key is LLAMA_API_KEY",
    )
    parser.add_argument("--api-key-file", type=Path, help="a file with the key in its first line")
    parser.add_argument("--column", default="text", help="the texts' (default: %(default)s)")
    parser.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns that Parquet gets beside the vectors, such as the rows' ids",
    )
    parser.add_argument("--side", choices=SIDES, default=SIDES[0], help="default: %(default)s")
    parser.add_argument(
        "--dimensions", type=int, help="one of the model's sizes (default: the server's own)"
    )
    parser.add_argument(
        "--type", choices=TYPES, default="float", help="the numbers' (default: %(default)s)"
    )
    parser.add_argument(
        "--truncate", action="store_true", help="cut texts that are longer than the context"
    )
    parser.add_argument(
        "--batch", type=_positive, default=BATCH, help="texts of a request (default: %(default)s)"
    )
    parser.add_argument(
        "--connections",
        type=_positive,
        default=CONNECTIONS,
        help="requests at once for each server (default: %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def api_key(file: Path | None) -> str | None:
    """Return the key in a file or in LLAMA_API_KEY, of several the first; None without one.

    Raises ToolError where the file cannot be read or is empty.
    """
    if file is None:
        return own_key()
    try:
        key = file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise ToolError(f"--api-key-file {file}: {error}") from None
    if not key:
        raise ToolError(f"--api-key-file {file}: its first line is empty, and must be the key")
    return key


def main(arguments: Sequence[str]) -> None:
    """Embed each row of INPUT, in order; a run that was ended goes on where it was."""
    options = _parser().parse_args(arguments)
    job = Job(
        input=options.input,
        output=options.output,
        urls=[checked_url(url) for url in options.url],
        key=api_key(options.api_key_file),
        column=options.column,
        keep=options.keep,
        side=options.side,
        dimensions=options.dimensions,
        type=options.type,
        truncate=options.truncate,
        batch=options.batch,
        connections=options.connections,
    )
    try:
        run(job)
    except OSError as error:
        raise ToolError(
            f"{error.filename or job.output}: {error.strerror or error}; when that is mended, the "
            "same command goes on"
        ) from None


if __name__ == "__main__":
    sys.exit(run_verb(main))
