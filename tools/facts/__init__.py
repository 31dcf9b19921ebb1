"""The fact files as types, the example corpus, and what CI has to do with them."""
