"""A long run under mixed load: its clients, what is noted of the server, and when it has grown."""
