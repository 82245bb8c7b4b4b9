"""pycalc: exact Fibonacci numbers, factorials and powers of any size, over HTTP."""

__version__ = "1.0.0"
