"""The same without an engine: built and run on this machine itself."""
