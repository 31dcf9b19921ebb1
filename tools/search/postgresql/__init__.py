"""Search by meaning in PostgreSQL."""
