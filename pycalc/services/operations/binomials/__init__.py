"""Residues of binomial coefficients, and their costs, mostly found without computing the coefficients."""
