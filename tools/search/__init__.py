"""Search by meaning in databases."""
