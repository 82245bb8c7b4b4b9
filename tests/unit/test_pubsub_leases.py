"""The leases of messages that a Pub/Sub consumer holds."""

from __future__ import annotations

from pycalc.streaming.pubsub.client import ACK_SECONDS
from pycalc.streaming.pubsub.subscriber import INTERVALS


def test_an_extension_that_fails_is_tried_again_before_the_lease_ends() -> None:
    """Leases are extended so often that an extension that fails is tried again before the lease ends."""
    assert 2 * INTERVALS.extend < ACK_SECONDS
