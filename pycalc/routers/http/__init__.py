"""HTTP functions that the routes share."""
