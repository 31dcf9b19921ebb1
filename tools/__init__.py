"""The library behind the nox verbs: one module a job, each runnable as ``python -m tools.<name>``."""
