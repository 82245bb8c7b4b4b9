"""The events of recorded calculations: published, counted and shown as they come."""
