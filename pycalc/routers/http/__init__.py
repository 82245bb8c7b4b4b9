"""HTTP that all routes share."""
