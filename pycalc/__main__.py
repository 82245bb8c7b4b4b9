"""``python -m pycalc``: the command line."""

from pycalc.cli.main import entry

if __name__ == "__main__":  # worker processes import this module under another name
    entry()
