"""A Docker Engine: found, installed, spoken to."""
