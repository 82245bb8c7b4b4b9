"""The metrics of accounts and limits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from pycalc.observability.metrics.constructors import constructors


class AccountMetrics:
    """Metrics of passwords, keys, tokens, rate limits and the audit log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, _ = constructors(registry)
        self.hashes_waiting = gauge("pycalc_password_hashes_waiting", "Password hashes queued or running")
        self.hashes_refused = counter(
            "pycalc_password_hashes_refused", "Requests refused because too many passwords were being hashed"
        )
        self.rate_limited = counter("pycalc_rate_limited", "Requests refused by a limit or a quota", ("limit",))
        self.audit_suppressed = counter(
            "pycalc_audit_suppressed", "Refusals left out of the audit log because of its rate limit", ("caller",)
        )
        self.audit_waiting = gauge("pycalc_audit_waiting", "Audit entries waiting for the database")
        self.audit_unstored = counter(
            "pycalc_audit_unstored",
            "Audit entries that are only in the log: limit (their actor causes too many), queue (full), unavailable "
            "(the database, at the end of the process), rejected (by the database)",
            ("reason",),
        )
        self.limit_fallbacks = counter(
            "pycalc_rate_limit_fallbacks",
            "Checks of a limit without the shared counters, which did not answer",
            ("limit",),
        )
        self.limit_keys = gauge("pycalc_rate_limit_keys", "Counters kept for the limits and quotas", ("limit",))
        self.revocation_failures = counter("pycalc_revocation_read_failures", "Failed reads of the revocations")
        self.keys_unreadable = gauge(
            "pycalc_key_file_unreadable", "1 while the file of the signing keys cannot be read"
        )
        self.lookups_refused = counter(
            "pycalc_credential_lookups_refused",
            "API keys, refresh tokens and sign-ins refused because too many look-ups were running",
            ("kind",),
        )
        self.provider_failures = counter(
            "pycalc_identity_provider_failures", "Requests to the identity provider without a usable answer"
        )
        self.keys_unknown = gauge("pycalc_unknown_keys", "API keys remembered as unknown")
        self.key_uses_noted = gauge("pycalc_key_uses_noted", "Last uses of API keys that are not stored yet")
        self.tokens_cached = gauge("pycalc_tokens_cached", "Verified tokens in the cache")
