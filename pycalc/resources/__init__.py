"""The composition root: what a process opens, wires together and closes."""
