"""The server processes, and their supervisor."""
