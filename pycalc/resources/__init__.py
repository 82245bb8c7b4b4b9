"""The composition root: opens, wires together and closes the parts of a process."""
