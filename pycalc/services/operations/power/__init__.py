"""Powers x^y."""
