"""The running processes of the service: the reports that each process stores, and the list for admins."""
