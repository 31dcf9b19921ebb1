"""What the tests of bulk jobs share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.support.requirements import need
from tests.support.toy.server import ToyServer
from tools.facts.models import load_models

NANO = load_models().models["nano"]


@pytest.fixture
def parquet(pytestconfig: pytest.Config) -> None:
    """The package that reads and writes Parquet."""
    found = find_spec("pyarrow") is not None
    need(pytestconfig, "pyarrow", available=found, why="`nox -s unit` and `embed` install it")


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    """A server of nano."""
    with ToyServer(NANO) as server:
        yield server


@pytest.fixture
def url(toy: ToyServer) -> str:
    """Where it answers."""
    return toy.described().base_url
