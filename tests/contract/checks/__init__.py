"""What every server must do, as plain functions; ``all.py`` has them all.

``test_contract.py`` runs them against a real server; ``tests/unit/support/test_faults.py`` runs
the same functions against a toy with a fault and shows that each can fail.
"""

import pkgutil

import pytest

# Without this, pytest would not spell out the values in these modules' assertions.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
)
