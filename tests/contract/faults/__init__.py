"""What a server could do wrong: small overrides of the toy, beside the checks that catch them.

A module has the faults that the module of checks of the same name shows; ``all.py`` has them all.
"""
