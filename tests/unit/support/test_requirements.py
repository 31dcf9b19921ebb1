"""What is required of a run adds up, and its absence fails."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import cast

import pytest

from tests.conftest import pytest_addoption
from tests.support.requirements import need, required


def config(*arguments: str) -> pytest.Config:
    """What the suite's own options make of a command line; pytest's parser is argparse's."""
    parser = argparse.ArgumentParser()
    group = SimpleNamespace(addoption=parser.add_argument)
    pytest_addoption(cast(pytest.Parser, SimpleNamespace(getgroup=lambda _name: group)))
    given = vars(parser.parse_args(arguments))
    return cast(pytest.Config, SimpleNamespace(getoption=lambda name: given[name.lstrip("-")]))


def test_every_require_counts() -> None:
    """The verb gives one and its user another: the last alone would let a need skip."""
    given = config("--require", "docker,postgres", "--require", "registry, gpu")
    assert required(given) == {"docker", "postgres", "registry", "gpu"}
    assert required(config()) == set()


def test_what_is_missing_fails_where_it_is_required_and_skips_elsewhere() -> None:
    given = config("--require", "docker", "--require", "registry")
    need(given, "docker", available=True, why="")
    with pytest.raises(pytest.fail.Exception, match="--require docker: no engine"):
        need(given, "docker", available=False, why="no engine")
    with pytest.raises(pytest.skip.Exception, match="needs gpu: no driver"):
        need(given, "gpu", available=False, why="no driver")
