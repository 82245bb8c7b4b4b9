"""The running processes of the service: what each reports, and the overview of all."""
