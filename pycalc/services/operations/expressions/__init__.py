"""Exact expressions over the operations: syntax, estimate, evaluation and verification."""
