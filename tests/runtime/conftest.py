"""What several files of container tests share."""

from __future__ import annotations

import pytest

from tests.support.containers import is_bare
from tests.support.requirements import need


@pytest.fixture(scope="session")
def patched(image: str, pytestconfig: pytest.Config) -> str:
    """The image under test, which must have our patches."""
    need(pytestconfig, "patches", available=not is_bare(image), why="built with --no-patches")
    return image
