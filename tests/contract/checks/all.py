"""Every check, in the order in which a reader wants to see them fail."""

from tests.contract.checks import (
    api,
    elasticsearch,
    errors,
    length,
    numbers,
    real,
    retrieval,
    sides,
    vectors,
)
from tests.contract.checks.check import Check

CHECKS: tuple[Check, ...] = (
    *api.CHECKS,
    *sides.CHECKS,
    *vectors.CHECKS,
    *retrieval.CHECKS,
    *elasticsearch.CHECKS,
    *numbers.CHECKS,
    *length.CHECKS,
    *errors.CHECKS,
    *real.CHECKS,
)
