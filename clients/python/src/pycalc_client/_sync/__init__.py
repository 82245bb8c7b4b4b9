"""The synchronous client, generated from ``_sync`` by ``generate.py``: change it there."""
