"""Arithmetic that several operations share."""
