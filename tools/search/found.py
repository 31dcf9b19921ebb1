"""What the searches found, in any database: shown and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.common.console import say, table
from tools.common.errors import ToolError


@dataclass(frozen=True)
class Finding:
    """What a search found first in an index, and what it must find.

    ``score`` is in the database's own measure: Elasticsearch's score is larger, PostgreSQL's
    cosine distance smaller, the nearer a document is.
    """

    index: str
    search: str
    wanted: str
    found: str | None
    score: float | None

    @property
    def right(self) -> bool:
        return self.found == self.wanted


def show(findings: Sequence[Finding], measure: str) -> None:
    """Print every search with what it found; nothing where nothing was searched.

    ``measure`` says what the scores are.
    """
    rows = [
        (
            each.index,
            each.search[:44],
            each.found or "nothing",
            "-" if each.score is None else f"{each.score:.4f}",
            "yes" if each.right else "NO",
        )
        for each in findings
    ]
    if rows:
        say("")
        table(rows, ("index", "search", "found first", measure, "right"))


def judge(findings: Sequence[Finding]) -> None:
    """Raise ToolError when a search found another document than its own."""
    wrong = [each for each in findings if not each.right]
    if wrong:
        raise ToolError(
            f"{len(wrong)} of {len(findings)} searches did not find their document first, such as "
            f"{wrong[0].search!r} in {wrong[0].index}, which must find {wrong[0].wanted}"
        )
