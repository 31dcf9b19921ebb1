"""A toy embedding server that keeps the whole contract, made of parts with one job each.

Its small methods are what tests/contract/faults overrides, each fault in a subclass of one part.
"""
