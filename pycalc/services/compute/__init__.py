"""Computation of results, on the event loop or in worker processes."""
