"""Residues, logarithms and costs of binomial coefficients, mostly found without computing the coefficients."""
