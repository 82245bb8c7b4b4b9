"""Pub/Sub URLs: ``pubsub://project/topic?option=value``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pycalc.urls import flag_option, split_url, url_options

# Names are checked at the start, because Pub/Sub would otherwise refuse a bad name at each event.
_PROJECT = re.compile(r"[a-z][a-z0-9:.-]{4,61}[a-z0-9]")
_TOPIC = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+-]{2,199}")


@dataclass(frozen=True, slots=True)
class PubSubOptions:
    """The topic and the endpoint of a Pub/Sub URL."""

    topic: str  # its full resource name
    create: bool  # create a missing topic or subscription
    endpoint: str  # with publishers in several regions, only a regional endpoint keeps the order of events

    def subscription(self, name: str) -> str:
        """Return the full resource name of the subscription whose id is the topic's id, a hyphen and ``name``."""
        return f"{self.topic.replace('/topics/', '/subscriptions/')}-{name}"


def pubsub_options(url: str, credentials: str = "") -> PubSubOptions:
    """Return the options in a URL; raises ValueError for an invalid URL, and if ``credentials`` are not empty."""
    if credentials:
        raise ValueError("Pub/Sub takes Google's application default credentials, not user and password")
    parts = split_url(url)
    topic = parts.path.removeprefix("/")
    if not _PROJECT.fullmatch(parts.netloc):
        raise ValueError("pubsub:// needs the id of a Google Cloud project: pubsub://project/topic")
    if not _TOPIC.fullmatch(topic):
        raise ValueError("the path is not the name of a Pub/Sub topic")
    options = url_options(url, {"create", "endpoint"})
    return PubSubOptions(
        topic=f"projects/{parts.netloc}/topics/{topic}",
        create=flag_option(options, "create"),
        endpoint=options.get("endpoint", "pubsub.googleapis.com"),
    )
