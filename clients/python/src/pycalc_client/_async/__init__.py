"""The asynchronous client. ``generate.py`` makes the synchronous one, ``_sync``, from it."""
