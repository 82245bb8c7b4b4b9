"""The event stream in Google Cloud Pub/Sub."""
