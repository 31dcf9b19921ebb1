"""Model files: the real ones and synthetic ones."""
