"""The audit log of refusals: a flood is counted rather than written, and displaces no other records."""

from __future__ import annotations

from structlog.testing import capture_logs

from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.audit_log import RefusalLog


def test_a_hundred_at_once_and_ten_a_second_are_written() -> None:
    """The log takes a burst of 100 refusals and 10 a second after that; it counts the rest.

    Known and unknown callers have separate buckets, and a pause refills a bucket up to its size.
    """
    now = 5.0
    metrics = Metrics()
    log = RefusalLog(metrics, clock=lambda: now)

    def written(user: str | None, tries: int) -> int:
        with capture_logs() as logs:
            for _ in range(tries):
                log.refused(user, path="/me")
        assert all((entry["event"], entry["user"], entry["path"]) == ("request refused", user, "/me") for entry in logs)
        return len(logs)

    assert (written(None, 101), written("ada", 100)) == (100, 100)
    now = 5.0625
    assert written(None, 1) == 0
    now = 5.125
    assert written(None, 2) == 1
    now = 7.125
    assert written(None, 30) == 20
    now = 1_000.0
    assert written(None, 150) == 100
    suppressed = metrics.registry.get_sample_value
    assert suppressed("pycalc_audit_suppressed_total", {"caller": "unknown"}) == 1 + 1 + 1 + 10 + 50
    assert suppressed("pycalc_audit_suppressed_total", {"caller": "known"}) == 0
