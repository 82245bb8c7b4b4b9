"""The leases of a Pub/Sub consumer."""

from __future__ import annotations

from pycalc.streaming.pubsub.client import ACK_SECONDS
from pycalc.streaming.pubsub.subscriber import INTERVALS


def test_an_extension_that_fails_is_tried_again_before_the_lease_ends() -> None:
    """A failed extension is retried within the lease, which is long enough for two tries."""
    assert 2 * INTERVALS.extend < ACK_SECONDS
