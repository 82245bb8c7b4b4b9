"""The command line, run by ``python -m pycalc``."""

from pycalc.cli.main import entry

if __name__ == "__main__":  # worker processes import this module under another name
    entry()
