"""Every check."""

from importlib import import_module

from tests.contract.checks.check import Check

#: Every module of checks, in the order in which a reader wants to see them fail: what every client
#: needs comes first, what could end the server comes late.
ORDER = (
    "api",
    "routes",
    "health",
    "truth",
    "request_ids",
    "browsers",
    "keys",
    "sides",
    "tasks",
    "tokens",
    "fields",
    "forms",
    "tei",
    "cohere",
    "recorded",
    "vectors",
    "retrieval",
    "elasticsearch",
    "numbers",
    "length",
    "errors",
    "limits",
    "real",
)

CHECKS: tuple[Check, ...] = tuple(
    check for module in ORDER for check in import_module(f"{__package__}.{module}").CHECKS
)
