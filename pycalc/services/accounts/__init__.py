"""Users, their credentials and their permissions."""
