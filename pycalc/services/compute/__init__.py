"""Computation of results on the event loop and in worker processes."""
