"""The business logic, independent of HTTP."""
