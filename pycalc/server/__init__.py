"""The processes that serve the application, and what looks after them."""
