"""The running processes of the service: the reports that each stores, and the list for admins."""
