"""A workflow of GitHub's, run on this machine: its jobs in order, by their own `run:` lines."""
