"""Measuring how fast servers are: `nox -s bench`, and the pieces that `nox -s paired` shares."""
