"""The vectors that every recipe must come to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.program import SEARCH, TEXT, Run, run_python
from tests.support.client import Client
from tests.support.requirements import need
from tests.support.server import Server
from tests.support.vectors import Vectors, cosine
from tools.facts.models import load_models

MODELS = load_models()

#: Two vectors of the same input are the same up to the rounding of float32.
SAME = 0.9999
#: How far a cosine that a client computes in float32 may be off.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Wanted:
    """The vectors of SEARCH and TEXT from plain requests that write the prefixes themselves."""

    query: Vectors
    document: Vectors
    #: The same two texts on the other side, and on none.
    lost: list[Vectors]

    def is_query(self, vector: Any) -> None:
        """Fail unless a vector is SEARCH's on the side of queries."""
        assert cosine(vector, self.query) >= SAME

    def is_document(self, vector: Any) -> None:
        """Fail unless a vector is TEXT's on the side of documents."""
        assert cosine(vector, self.document) >= SAME

    def has_lost_its_side(self, vector: Any) -> None:
        """Fail unless a vector is one of the two texts', but on the wrong side or on none."""
        assert max(cosine(vector, each) for each in self.lost) >= SAME

    def is_score(self, score: float) -> None:
        """Fail unless it is the cosine of SEARCH with TEXT, each on its side."""
        assert abs(score - cosine(self.query, self.document)) < ROUNDING

    def lost_score(self, score: float) -> None:
        """Fail unless it is another cosine, of two vectors of which one has lost its side."""
        assert abs(score - cosine(self.query, self.document)) > 10 * ROUNDING


@pytest.fixture
def patched(server: Server, pytestconfig: pytest.Config) -> Server:
    """The server under test, which must know the sides."""
    need(pytestconfig, "patches", available=not server.bare, why="built with --no-patches")
    return server


@pytest.fixture
def python(patched: Server, tmp_path: Path, pytestconfig: pytest.Config) -> Run:
    """Run a program against the server under test, by the Python that has the clients."""
    interpreter = pytestconfig.getoption("--clients")
    why = "`nox -s test -- tests/recipes` makes an environment with them"
    need(pytestconfig, "clients", available=interpreter is not None, why=why)
    return partial(run_python, interpreter, patched, tmp_path)


@pytest.fixture
def wanted(patched: Server) -> Wanted:
    """What the server under test makes of the recipes' texts."""
    query, document = MODELS.query_prefix, MODELS.document_prefix
    inputs = [query + SEARCH, document + TEXT, document + SEARCH, query + TEXT, SEARCH, TEXT]
    with Client(patched.base_url, patched.api_key) as client:
        vectors = client.embed(inputs).astype(float)
    right, wrong = vectors[:2], list(vectors[2:])
    # Where a side made no difference, nobody could see that it is lost.
    assert max(cosine(one, other) for one in right for other in wrong) < SAME
    return Wanted(right[0], right[1], wrong)
