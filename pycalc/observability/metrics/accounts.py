"""The metrics of accounts and limits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from pycalc.observability.metrics.constructors import constructors


class AccountMetrics:
    """Metrics of passwords, keys, tokens, rate limits and the audit log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, _ = constructors(registry)
        self.hashes_waiting = gauge("pycalc_password_hashes_waiting", "Password hashes queued or running")
        self.hashes_refused = counter("pycalc_password_hashes_refused", "Requests refused by the limit on hashing")
        self.rate_limited = counter("pycalc_rate_limited", "Requests refused by a limit or a quota", ("limit",))
        self.audit_suppressed = counter("pycalc_audit_suppressed", "Refusals beyond the audit log's rate", ("caller",))
        self.audit_waiting = gauge("pycalc_audit_waiting", "Audit entries waiting for the database")
        self.audit_unstored = counter(
            "pycalc_audit_unstored",
            "Audit entries only in the log: limit (too many of an actor), queue (full), unavailable (database, at the "
            "end), rejected (by the database)",
            ("reason",),
        )
        self.limit_fallbacks = counter("pycalc_rate_limit_fallbacks", "Limit checks without Redis's answer", ("limit",))
        self.limit_keys = gauge("pycalc_rate_limit_keys", "Counters kept for the limits and quotas", ("limit",))
        self.revocation_failures = counter("pycalc_revocation_read_failures", "Failed reads of the revocations")
        self.keys_unreadable = gauge("pycalc_key_file_unreadable", "1 while the signing keys' file cannot be read")
        self.lookups_refused = counter(
            "pycalc_credential_lookups_refused", "Credentials refused by the limit on look-ups", ("kind",)
        )
        self.provider_failures = counter("pycalc_identity_provider_failures", "Failed calls to the identity provider")
        self.keys_unknown = gauge("pycalc_unknown_keys", "API keys remembered as unknown")
        self.key_uses_noted = gauge("pycalc_key_uses_noted", "Last uses of API keys that are not stored yet")
        self.tokens_cached = gauge("pycalc_tokens_cached", "Verified tokens in the cache")
