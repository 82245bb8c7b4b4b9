"""The metrics of events."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from pycalc.observability.metrics.constructors import constructors


class EventMetrics:
    """Metrics of the relay, the stream, the usage consumer and the event feed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, seconds = constructors(registry)
        self.outbox_backlog = gauge("pycalc_outbox_backlog", "Unpublished events; 0 in a process that publishes none")
        self.outbox_oldest_seconds = gauge("pycalc_outbox_oldest_seconds", "Age of the oldest unpublished event")
        self.relay_leading = gauge("pycalc_relay_leading", "1 while this process's relay publishes the events")
        self.events_published = counter("pycalc_events_published", "Events accepted by the stream")
        self.relay_failures = counter("pycalc_relay_failures", "Failures after which the relay retried")
        self.dead_letters = counter("pycalc_dead_letters", "Events and messages dead-lettered", ("stage",))
        self.messages_dropped = counter("pycalc_messages_dropped", "Foreign messages dropped: too many dead letters")
        self.events_consumed = counter("pycalc_events_consumed", "Events counted in the usage totals")
        self.events_repeated = counter("pycalc_events_repeated", "Events delivered again, and not counted again")
        self.consumer_failures = counter("pycalc_consumer_failures", "Failures after which the consumer retried")
        self.consumer_lag = seconds("pycalc_consumer_lag_seconds", "From recording to counting, oldest of each batch")
        self.stream_failures = counter("pycalc_stream_failures", "Failed calls to the stream", ("call",))
        self.events_refused = counter("pycalc_events_refused", "Events that the stream refused, at each try")
        self.subscribers = gauge("pycalc_event_subscribers", "Clients subscribed to the event feed")
        self.subscribers_dropped = counter("pycalc_event_subscribers_dropped", "Subscribers that read too slowly")
        self.subscribers_refused = counter("pycalc_event_subscribers_refused", "Subscribers beyond the limit")
