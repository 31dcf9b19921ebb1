"""Serve a model from an image, and what is done with a server."""
