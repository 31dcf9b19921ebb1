"""From texts to vectors: many requests at once, and their answers in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tools.common.errors import ToolError
from tools.embed.parts import Parts
from tools.embed.servers import Refused, Servers
from tools.embed.wanted import PATH, Vectors, Wanted

#: A request ends with the text that reaches so many bytes: about 32,000 tokens, which is minutes of
#: work for a small CPU, and far from the 8 MB that a server takes.
MOST_BYTES = 1 << 17
#: Batches that are under way or wait to be stored, for each connection: while a part is written,
#: or one request is slow, the servers have others.
AHEAD = 4

#: A part is stored when it has so many rows, or its first row is so many seconds old.
ROWS_A_PART, SECONDS_A_PART = 4096, 10.0


@dataclass(frozen=True)
class Batch:
    """Texts of one request, of the rows from ``first`` on."""

    first: int
    texts: tuple[str, ...]


def batches(texts: Iterable[str], first: int, size: int) -> Iterator[Batch]:
    """Yield the texts of the rows from ``first`` on in batches of ``size``.

    Where they are long, it is fewer.
    """
    some: list[str] = []
    held = 0
    for text in texts:
        some.append(text)
        held += len(text.encode())
        if len(some) == size or held >= MOST_BYTES:
            yield Batch(first, tuple(some))
            first, some, held = first + len(some), [], 0
    if some:
        yield Batch(first, tuple(some))


def embed_batch(servers: Servers, wanted: Wanted, numbers: int, batch: Batch) -> Vectors:
    """Return the vectors of a batch, each of so many ``numbers``.

    Raises ToolError, which names the row, where the server refuses one of the texts.
    """
    try:
        content = servers.ask(PATH, wanted.body(batch.texts))
    except Refused as refused:
        raise _named(servers, wanted, batch, refused) from None
    vectors = wanted.read(content, len(batch.texts))
    if vectors.shape[1] != numbers:
        raise ToolError(
            f"a server answered with vectors of {vectors.shape[1]} numbers, and this job's have "
            f"{numbers}; give --dimensions, so that all servers give the same"
        )
    return vectors


def in_order(
    embed: Callable[[Batch], Vectors], every: Iterable[Batch], at_once: int, servers: Servers
) -> Generator[Vectors]:
    """Yield the vectors of each batch in order, ``at_once`` of which are under way.

    Never more than AHEAD times as many are in memory. When it is closed, or one fails, what is
    under way is ended.
    """
    waiting: deque[Future[Vectors]] = deque()
    pool = ThreadPoolExecutor(at_once)
    try:
        for batch in every:
            waiting.append(pool.submit(embed, batch))
            if len(waiting) >= AHEAD * at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        servers.stop()
        pool.shutdown(cancel_futures=True)


class PartWriter:
    """Stores vectors as parts, from row ``first`` on."""

    def __init__(self, parts: Parts, first: int) -> None:
        self._parts = parts
        self._since = 0.0
        # One value, which changes at once: Ctrl-C may come between any two lines, and what is held
        # must never be stored behind itself.
        self._state: tuple[int, tuple[Vectors, ...]] = first, ()

    @property
    def done(self) -> int:
        """The rows that are stored."""
        return self._state[0]

    def add(self, vectors: Vectors) -> None:
        """Take the next vectors, and store them when there are enough."""
        done, held = self._state
        if not held:
            self._since = time.monotonic()
        held = (*held, vectors)
        self._state = done, held
        old = time.monotonic() - self._since >= SECONDS_A_PART
        if old or sum(map(len, held)) >= ROWS_A_PART:
            self.flush()

    def flush(self) -> None:
        """Store what is held."""
        done, held = self._state
        if held:
            part = np.concatenate(held)
            self._parts.add(done, part)
            self._state = done + len(part), ()


def _named(servers: Servers, wanted: Wanted, batch: Batch, refused: Refused) -> ToolError:
    """Find the text that is refused, by asking for each alone, and name its row."""
    for place, text in enumerate(batch.texts):
        try:
            servers.ask(PATH, wanted.body([text]))
        except Refused as alone:
            hint = "" if wanted.truncate else "; with --truncate a text that is too long is cut"
            return ToolError(
                f"row {batch.first + place + 1} is refused: {alone}{hint}. When that is mended, "
                "the same command goes on"
            )
    last = batch.first + len(batch.texts)
    return ToolError(f"rows {batch.first + 1} to {last} are refused together: {refused}")
