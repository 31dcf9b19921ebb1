"""Tests never skip in silence: ``--require docker,gpu`` turns a skip for that into a failure."""

from __future__ import annotations

import pytest


def required(config: pytest.Config) -> set[str]:
    """Return the names given to every ``--require``, each a list separated by commas.

    They add up: a verb of noxfile.py gives one, and whoever runs the verb gives others.
    """
    given = ",".join(config.getoption("--require"))
    return {name.strip() for name in given.split(",")} - {""}


def need(config: pytest.Config, name: str, *, available: bool, why: str) -> None:
    """Skip the test unless ``name`` is available; fail it where ``--require`` lists ``name``."""
    if available:
        return
    if name in required(config):
        pytest.fail(f"--require {name}: {why}", pytrace=False)
    pytest.skip(f"needs {name}: {why}")
