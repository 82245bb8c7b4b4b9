"""HTTP machinery that the routes share."""
