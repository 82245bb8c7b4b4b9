"""The composition root, which opens and closes the resources of a process, and creates the services that use them."""
