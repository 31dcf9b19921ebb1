"""Elasticsearch with this server's embeddings: the console files, and the verb that runs them."""
