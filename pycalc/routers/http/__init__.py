"""HTTP code that the routes share."""
