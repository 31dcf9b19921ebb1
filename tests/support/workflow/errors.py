"""What can go wrong in a rehearsal."""

from __future__ import annotations


class NotKnownError(Exception):
    """A workflow says something that is not interpreted here; the text says what."""


class StepFailedError(Exception):
    """A step ends with a failure, as it would on GitHub; the text says why."""
