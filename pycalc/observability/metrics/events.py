"""The metrics of events."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pycalc.observability.metrics.buckets import SECONDS_BUCKETS


class EventMetrics:
    """Metrics of the relay, the stream, the usage consumer and the event feed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.outbox_backlog = Gauge("pycalc_outbox_backlog", "Recorded events not yet published", registry=registry)
        self.outbox_oldest_seconds = Gauge(
            "pycalc_outbox_oldest_seconds", "Seconds since the oldest unpublished event was recorded", registry=registry
        )
        self.relay_leading = Gauge(
            "pycalc_relay_leading", "1 while the relay of this process holds the lease and publishes", registry=registry
        )
        self.events_published = Counter("pycalc_events_published", "Events accepted by the stream", registry=registry)
        self.relay_failures = Counter(
            "pycalc_relay_failures", "Batches that failed in the relay and are retried", registry=registry
        )
        self.dead_letters = Counter(
            "pycalc_dead_letters", "Events and messages dead-lettered", ("stage",), registry=registry
        )
        self.events_consumed = Counter(
            "pycalc_events_consumed", "Events counted in the usage totals", registry=registry
        )
        self.events_repeated = Counter(
            "pycalc_events_repeated", "Events delivered again, and not counted again", registry=registry
        )
        self.consumer_failures = Counter(
            "pycalc_consumer_failures",
            "Failures after which the consumer retried or rejoined its group",
            registry=registry,
        )
        self.consumer_lag = Histogram(
            "pycalc_consumer_lag_seconds",
            "Seconds from recording to counting, for the oldest calculation of each batch",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.stream_failures = Counter(
            "pycalc_stream_failures", "Failed calls to the stream", ("call",), registry=registry
        )
        self.events_refused = Counter(
            "pycalc_events_refused", "Events that the stream refused for good, counted at every try", registry=registry
        )
        self.subscribers = Gauge("pycalc_event_subscribers", "Clients subscribed to the event feed", registry=registry)
        self.subscribers_dropped = Counter(
            "pycalc_event_subscribers_dropped", "Subscribers dropped because they read too slowly", registry=registry
        )
        self.subscribers_refused = Counter(
            "pycalc_event_subscribers_refused", "Subscribers refused because of the limit", registry=registry
        )
