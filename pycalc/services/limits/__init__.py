"""Rate limits, quotas and concurrency limits."""
