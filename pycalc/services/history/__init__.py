"""The recorded calculations: written, read, exported and deleted."""
