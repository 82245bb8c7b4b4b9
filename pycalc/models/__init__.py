"""The data that clients and event consumers see, and the rows that are stored."""
