"""What a Pub/Sub URL says: ``pubsub://project/topic?option=value``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pycalc.streaming.options import flag, options_of
from pycalc.urls import split_url

_PROJECT = re.compile(r"[a-z][a-z0-9:.-]{4,61}[a-z0-9]")
_TOPIC = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+-]{2,199}")


@dataclass(frozen=True, slots=True)
class PubSubOptions:
    """Which topic, and how it is reached; names are checked here, because the service refuses bad ones per event."""

    project: str
    topic_id: str
    create: bool
    """Whether a missing topic or subscription is made."""
    endpoint: str
    """A regional endpoint keeps the order of events of publishers in several regions."""

    @property
    def topic(self) -> str:
        """The topic's full name."""
        return f"projects/{self.project}/topics/{self.topic_id}"

    def subscription(self, name: str) -> str:
        """Return the full name of the topic's subscription for a group or a listener."""
        return f"projects/{self.project}/subscriptions/{self.topic_id}-{name}"


def pubsub_options(url: str) -> PubSubOptions:
    """Return what a URL says; raises ValueError."""
    parts = split_url(url)
    topic = parts.path.removeprefix("/")
    if not _PROJECT.fullmatch(parts.netloc):
        raise ValueError("pubsub:// needs the id of a Google Cloud project: pubsub://project/topic")
    if not _TOPIC.fullmatch(topic):
        raise ValueError(f"{topic!r} is not the name of a Pub/Sub topic")
    options = options_of(parts.query, {"create", "endpoint"})
    return PubSubOptions(
        project=parts.netloc,
        topic_id=topic,
        create=flag(options.get("create", "true")),
        endpoint=options.get("endpoint", "pubsub.googleapis.com"),
    )
