"""The commands of ``pycalc``."""
