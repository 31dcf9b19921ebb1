"""Embed a corpus of any size, in order and resumable: `nox -s embed`."""
