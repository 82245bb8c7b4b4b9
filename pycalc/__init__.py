"""pycalc: exact Fibonacci numbers, factorials and powers of any size, over HTTP."""

__version__ = "0.1.0"
