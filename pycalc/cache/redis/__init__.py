"""The cache in Redis, shared by all processes."""
