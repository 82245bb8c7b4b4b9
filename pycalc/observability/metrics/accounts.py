"""The metrics of accounts and limits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AccountMetrics:
    """Metrics of passwords, keys, tokens, rate limits and the audit log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.hashes_waiting = Gauge(
            "pycalc_password_hashes_waiting", "Password hashes queued or running", registry=registry
        )
        self.hashes_refused = Counter(
            "pycalc_password_hashes_refused",
            "Logins and registrations refused because the queue was full",
            registry=registry,
        )
        self.rate_limited = Counter("pycalc_rate_limited", "Requests refused by a limit", ("limit",), registry=registry)
        self.audit_suppressed = Counter(
            "pycalc_audit_suppressed",
            "Refusals left out of the audit log because of its rate limit",
            ("caller",),
            registry=registry,
        )
        self.limit_fallbacks = Counter(
            "pycalc_rate_limit_fallbacks",
            "Checks of a limit without the shared counters, which did not answer",
            ("limit",),
            registry=registry,
        )
        self.limit_keys = Gauge("pycalc_rate_limit_keys", "Counters kept for the limits", ("limit",), registry=registry)
        self.revocation_failures = Counter(
            "pycalc_revocation_read_failures", "Failed reads of the revocations", registry=registry
        )
        self.keys_unreadable = Gauge(
            "pycalc_key_file_unreadable", "1 while the file of the signing keys cannot be read", registry=registry
        )
        self.lookups_refused = Counter(
            "pycalc_credential_lookups_refused",
            "API keys and refresh tokens refused because too many look-ups were running",
            ("kind",),
            registry=registry,
        )
        self.keys_unknown = Gauge("pycalc_unknown_keys", "API keys remembered as unknown", registry=registry)
        self.tokens_cached = Gauge("pycalc_tokens_cached", "Verified tokens in the cache", registry=registry)
