"""The composition root: it opens and closes the resources of a process, and wires the services on them."""
