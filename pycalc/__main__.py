"""``python -m pycalc``: the command line."""

from pycalc.cli import entry

entry()
