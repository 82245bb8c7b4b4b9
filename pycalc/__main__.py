"""``python -m pycalc``: the command line."""

from pycalc.cli import entry

if __name__ == "__main__":  # worker processes import it, under another name
    entry()
