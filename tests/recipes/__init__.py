"""Each client of the docs, run against the server: `nox -s test -- tests/recipes`."""
