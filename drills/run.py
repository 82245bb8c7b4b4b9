"""The command ``make drill``: run the drills in full size; the exit status is 1 if one fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter

from drills.greedy import greedy
from drills.hostile import hostile
from drills.killing import killing, killing_several
from drills.large_bodies import large_bodies
from drills.outages import failing_writes, filling, hanging, locking
from drills.overload import WORK, overload
from drills.postgres import postgres_restarts
from drills.redis_outage import WAYS, redis_stops
from drills.retrying import retrying
from drills.slow_clients import KINDS, slow
from drills.stopping import stopping, stopping_several
from drills.streams.broker_errors import deleted_topic, over_the_limit, wrong_credentials
from drills.streams.killing import consumer_killing, relay_killing, three_relays
from drills.streams.outages import broker_stops
from drills.streams.poison import poison
from drills.streams.soak import soak
from drills.support.finding import Finding
from drills.syncing import syncing
from drills.timing import timing

STREAMS = ("kafka", "pubsub")
DRILLS: dict[str, Callable[[], Finding]] = {
    "killing": killing,
    "killing-several": killing_several,
    "retrying": retrying,
    "postgres-restarts": postgres_restarts,
    "syncing": syncing,
    "filling": filling,
    "failing-writes": failing_writes,
    "locking": locking,
    "hanging": hanging,
    "stopping": stopping,
    "stopping-several": stopping_several,
    **{f"overload-{work}": partial(overload, work) for work in WORK},
    **{f"slow-{kind}": partial(slow, kind) for kind in KINDS},
    "large-bodies": large_bodies,
    "hostile": hostile,
    "greedy": greedy,
    "timing": timing,
    **{f"redis-{way}": partial(redis_stops, way) for way in WAYS},
    **{f"stream-outages-{kind}": partial(broker_stops, kind) for kind in STREAMS},
    **{f"relay-killing-{kind}": partial(relay_killing, kind) for kind in STREAMS},
    **{f"three-relays-{kind}": partial(three_relays, kind) for kind in STREAMS},
    **{f"consumer-killing-{kind}": partial(consumer_killing, kind) for kind in STREAMS},
    "poison-event": poison,
    "soak": soak,
    **{f"topic-deleted-{kind}": partial(deleted_topic, kind) for kind in STREAMS},
    "over-the-limit": over_the_limit,
    **{f"wrong-credentials-{kind}": partial(wrong_credentials, kind) for kind in STREAMS},
}


def main() -> int:
    """Run the drills named on the command line, or else all; print each finding; return 1 if a drill fails, else 0."""
    unknown = set(sys.argv[1:]) - set(DRILLS)
    if unknown:
        sys.exit(f"no such drill: {', '.join(unknown)}; there are {', '.join(DRILLS)}")
    failed = False
    for name in sys.argv[1:] or DRILLS:
        started = perf_counter()
        finding = DRILLS[name]()
        print(f"{finding} ({perf_counter() - started:.0f} s)", flush=True)
        failed |= not finding.passed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
