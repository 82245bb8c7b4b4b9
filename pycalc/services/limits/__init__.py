"""Limits on how often, how much and how many at once."""
