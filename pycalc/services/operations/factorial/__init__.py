"""Factorials n!."""
