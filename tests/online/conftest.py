"""The first origins on loopback, and clones of the checkout whose facts lead there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.first_origins import FirstOrigins, first_origins
from tests.support.git_server import has_git_server
from tests.support.registry import registry_program
from tests.support.requirements import need
from tests.support.scratch import Scratch, scratch_clone
from tools.common.errors import ToolError


@pytest.fixture(scope="session")
def origins(
    image: str, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FirstOrigins]:
    """The servers; where the image under test was built, what is built here was compiled before."""
    why = "this git has no http-backend"
    need(pytestconfig, "registry", available=has_git_server(), why=why)
    try:
        program = registry_program()
        with first_origins(tmp_path_factory.mktemp("origins"), program) as made:
            yield made
    except ToolError as error:
        need(pytestconfig, "registry", available=False, why=str(error))
        raise


@pytest.fixture(scope="session")
def scratch(origins: FirstOrigins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A clone for whom every first origin answers."""
    folder = tmp_path_factory.mktemp("scratch")
    with scratch_clone(folder, origins.facts, origins.hub.url) as made:
        yield made
