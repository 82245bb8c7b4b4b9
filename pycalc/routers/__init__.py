"""The HTTP views."""
