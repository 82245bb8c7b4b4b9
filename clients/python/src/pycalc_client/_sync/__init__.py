"""The synchronous client, which ``generate.py`` makes from the asynchronous one: change that."""
