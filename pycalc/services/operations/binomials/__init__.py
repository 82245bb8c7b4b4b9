"""Binomial coefficients that are too large to be written out: their residues, size and ends."""
