"""What runs inside a peer's own environment: a model behind a minimal HTTP server.

Here only the standard library, numpy, and what the environment was made for can be imported, and
nothing else of this project.
"""
