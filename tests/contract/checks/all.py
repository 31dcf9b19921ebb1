"""Every check, in the order in which a reader wants to see them fail."""

from tests.contract.checks import (
    api,
    browsers,
    elasticsearch,
    errors,
    health,
    keys,
    length,
    limits,
    numbers,
    real,
    request_ids,
    retrieval,
    routes,
    sides,
    tokens,
    truth,
    vectors,
)
from tests.contract.checks.check import Check

CHECKS: tuple[Check, ...] = (
    *api.CHECKS,
    *routes.CHECKS,
    *health.CHECKS,
    *truth.CHECKS,
    *request_ids.CHECKS,
    *browsers.CHECKS,
    *keys.CHECKS,
    *sides.CHECKS,
    *tokens.CHECKS,
    *vectors.CHECKS,
    *retrieval.CHECKS,
    *elasticsearch.CHECKS,
    *numbers.CHECKS,
    *length.CHECKS,
    *errors.CHECKS,
    *limits.CHECKS,
    *real.CHECKS,
)
