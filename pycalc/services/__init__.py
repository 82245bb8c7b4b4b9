"""The business logic, independent of HTTP.

Every function that uses the database may raise StoreUnavailable, even if its docstring names only its other errors.
"""
