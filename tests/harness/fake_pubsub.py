"""A fake Google Cloud Pub/Sub in the test's process: topics, ordered subscriptions, leases, injected failures.

It speaks the gRPC protocol of Pub/Sub, so that Google's own client libraries can use it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import Any

import grpc
from google.pubsub_v1 import (
    AcknowledgeRequest,
    DeleteSubscriptionRequest,
    DeleteTopicRequest,
    GetSubscriptionRequest,
    ModifyAckDeadlineRequest,
    PublishRequest,
    PublishResponse,
    PubsubMessage,
    PullRequest,
    PullResponse,
    ReceivedMessage,
    Subscription,
    Topic,
)

from tests.harness.pubsub import PROJECT, PubSub

_THREADS = 64
_MAX_REQUEST_MESSAGES = 1_000
_MAX_REQUEST_BYTES = 10_000_000
_DELETED_TOPIC = "_deleted-topic_"

Status = grpc.StatusCode


class _Failure(Exception):
    """A gRPC call that ends with an error status."""

    def __init__(self, status: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Entry:
    """A message in a subscription; it is leased while it has an ack id and its deadline has not passed."""

    def __init__(self, message: PubsubMessage) -> None:
        self.message = message
        self.ack_id = ""
        self.deadline = 0.0


class _Queue:
    """The messages of a subscription, oldest first."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.entries: list[_Entry] = []
        self._ack_ids = count()

    def lease(self, most: int) -> list[ReceivedMessage]:
        """Lease the next messages, but none whose ordering key has a leased message already."""
        now = monotonic()
        for entry in [*self.entries]:
            if entry.ack_id and entry.deadline <= now:
                self.give_back(entry)
        busy = {entry.message.ordering_key for entry in self.entries if entry.ack_id and entry.message.ordering_key}
        free = [entry for entry in self.entries if not entry.ack_id and entry.message.ordering_key not in busy][:most]
        for entry in free:
            entry.ack_id = f"{self.subscription.name}:{next(self._ack_ids)}"
            entry.deadline = now + self.subscription.ack_deadline_seconds
        return [ReceivedMessage(ack_id=entry.ack_id, message=entry.message) for entry in free]

    def give_back(self, first: _Entry) -> None:
        """End the lease of a message and of later messages with the same ordering key."""
        key = first.message.ordering_key
        for entry in self.entries[self.entries.index(first) :]:
            if entry is first or (key and entry.message.ordering_key == key):
                entry.ack_id = ""

    def leased(self, ack_ids: list[str]) -> list[_Entry]:
        """Return the messages that have one of these acknowledgement ids, even if their deadlines have passed."""
        return [entry for entry in self.entries if entry.ack_id in {*ack_ids} - {""}]


class FakePubSub(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """A fake Pub/Sub service, with failures that a test sets."""

    def __init__(self) -> None:
        # The value for the environment variable PUBSUB_EMULATOR_HOST.
        self.emulator_host = ""
        # Error statuses to answer with, by method; ``*`` stands for all other methods.
        self.failures: dict[str, grpc.StatusCode] = {}
        # Data of invalid messages; a publish request that contains one of them is refused.
        self.bad: set[bytes] = set()
        # The message data of each accepted publish request.
        self.requests: list[list[bytes]] = []
        # The number of calls of each method.
        self.calls: Counter[str] = Counter()
        # The longest time that a pull waits for messages, in seconds.
        self.pull_seconds = 60.0
        self._changed = threading.Condition()
        self._topics: set[str] = set()
        self._queues: dict[str, _Queue] = {}
        self._message_ids = count(1)
        self._closed = False

    def url(self, topic: str, options: str = "") -> str:
        """Return a topic's URL."""
        return f"pubsub://{PROJECT}/{topic}{'?' if options else ''}{options}"

    def make_topic(self, topic: str) -> None:
        """Create a topic without a subscription."""
        self._create_topic(Topic(name=f"projects/{PROJECT}/topics/{topic}"))

    def close(self) -> None:
        """Release all waiting pulls."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def service(self, details: Any) -> Any:
        """Return the handler of a gRPC call."""
        method = details.method.rpartition("/")[2]
        kinds: dict[str, tuple[Any, Callable[..., Any]]] = {
            "CreateTopic": (Topic, self._create_topic),
            "DeleteTopic": (DeleteTopicRequest, self._delete_topic),
            "Publish": (PublishRequest, self._publish),
            "CreateSubscription": (Subscription, self._create_subscription),
            "GetSubscription": (GetSubscriptionRequest, self._get_subscription),
            "DeleteSubscription": (DeleteSubscriptionRequest, self._delete_subscription),
            "Acknowledge": (AcknowledgeRequest, self._acknowledge),
            "ModifyAckDeadline": (ModifyAckDeadlineRequest, self._modify),
            "Pull": (PullRequest, self._pull),
        }
        kind, handler = kinds[method]

        def answer(raw: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls[method] += 1
            status = self.failures.get(method, self.failures.get("*"))
            request = kind.deserialize(raw)
            try:
                if status is not None:
                    raise _Failure(status, "the test makes this call fail")
                with self._changed:
                    response = handler(request, context) if method == "Pull" else handler(request)
                    self._changed.notify_all()
            except _Failure as failure:
                context.abort(failure.status, str(failure))
            encoded: bytes = b"" if response is None else type(response).serialize(response)
            return encoded

        return grpc.unary_unary_rpc_method_handler(answer)

    def _create_topic(self, topic: Topic) -> Topic:
        if topic.name in self._topics:
            raise _Failure(Status.ALREADY_EXISTS, topic.name)
        self._topics.add(topic.name)
        return topic

    def _delete_topic(self, request: DeleteTopicRequest) -> None:
        self._require_topic(request.topic)
        self._topics.remove(request.topic)
        for queue in self._queues.values():
            if queue.subscription.topic == request.topic:
                queue.subscription.topic = _DELETED_TOPIC

    def _require_topic(self, name: str) -> None:
        if name not in self._topics:
            raise _Failure(Status.NOT_FOUND, f"{name} is not there")

    def _publish(self, request: PublishRequest) -> PublishResponse:
        self._require_topic(request.topic)
        messages = [*request.messages]
        if len({message.ordering_key for message in messages}) > 1:
            raise _Failure(Status.INVALID_ARGUMENT, "the messages of a request have the same ordering key")
        if len(messages) > _MAX_REQUEST_MESSAGES:
            raise _Failure(Status.INVALID_ARGUMENT, "the request has too many messages")
        if sum(len(message.data) for message in messages) > _MAX_REQUEST_BYTES:
            raise _Failure(Status.INVALID_ARGUMENT, "the request is too large")
        data = [message.data for message in messages]
        if self.bad & {*data}:
            raise _Failure(Status.INVALID_ARGUMENT, "a message is not valid")
        self.requests.append(data)
        for message in messages:
            message.message_id = str(next(self._message_ids))
            PubsubMessage.pb(message).publish_time.GetCurrentTime()
            for queue in self._queues.values():
                if queue.subscription.topic == request.topic:
                    queue.entries.append(_Entry(message))
        return PublishResponse(message_ids=[message.message_id for message in messages])

    def _create_subscription(self, wanted: Subscription) -> Subscription:
        self._require_topic(wanted.topic)
        if wanted.name in self._queues:
            raise _Failure(Status.ALREADY_EXISTS, wanted.name)
        if not 10 <= wanted.ack_deadline_seconds <= 600:
            raise _Failure(Status.INVALID_ARGUMENT, "the ack deadline is not between 10 and 600 s")
        self._queues[wanted.name] = _Queue(wanted)
        return wanted

    def _queue(self, name: str) -> _Queue:
        if name not in self._queues:
            raise _Failure(Status.NOT_FOUND, f"{name} is not there")
        return self._queues[name]

    def _get_subscription(self, request: GetSubscriptionRequest) -> Subscription:
        return self._queue(request.subscription).subscription

    def _delete_subscription(self, request: DeleteSubscriptionRequest) -> None:
        self._queue(request.subscription)
        del self._queues[request.subscription]

    def _acknowledge(self, request: AcknowledgeRequest) -> None:
        queue = self._queue(request.subscription)
        for entry in queue.leased([*request.ack_ids]):
            queue.entries.remove(entry)

    def _modify(self, request: ModifyAckDeadlineRequest) -> None:
        queue = self._queue(request.subscription)
        for entry in queue.leased([*request.ack_ids]):
            entry.deadline = monotonic() + request.ack_deadline_seconds
            if not request.ack_deadline_seconds:
                queue.give_back(entry)

    def _pull(self, request: PullRequest, context: grpc.ServicerContext) -> PullResponse:
        """Return the next messages; wait for them until the caller hangs up, but at most ``pull_seconds``."""
        until = monotonic() + self.pull_seconds
        context.add_callback(self._wake)
        while context.is_active() and not self._closed:
            messages = self._queue(request.subscription).lease(request.max_messages)
            left = until - monotonic()
            if messages or left <= 0:
                return PullResponse(received_messages=messages)
            self._changed.wait(min(left, 0.2))  # woken again after a while, because leases end without a notification
        return PullResponse()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


AnyPubSub = FakePubSub | PubSub


@contextmanager
def fake_pubsub() -> Iterator[FakePubSub]:
    """Run a fake Pub/Sub on a free port."""
    handler = FakePubSub()
    unbounded = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(_THREADS), handlers=[handler], options=unbounded)
    port = server.add_insecure_port("127.0.0.1:0")
    handler.emulator_host = f"127.0.0.1:{port}"
    server.start()
    try:
        yield handler
    finally:
        handler.close()
        server.stop(None).wait()
