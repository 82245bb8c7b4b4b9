"""Residues, sizes and first digits of binomial coefficients that are too large to compute."""
