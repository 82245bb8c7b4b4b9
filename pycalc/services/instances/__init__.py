"""The running processes of the service: the report of each, and the list of all."""
