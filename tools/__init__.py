"""The library behind the nox verbs: one module a job."""
