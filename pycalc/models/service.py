"""The service's state as clients see it, and its running processes and dead letters as admins see them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from pycalc.models.formats import NextCursor, Timestamp, Uuid

Circuit = Literal["closed", "half-open", "open"]
ServiceStatus = Annotated[
    Literal["ok", "degraded", "unavailable"],
    Field(description="`degraded`: an optional dependency does not answer; `unavailable`: a necessary one does not"),
]


class SignIn(TypedDict):
    """The ways to sign in."""

    password: Annotated[bool, Field(description="whether `POST /login` and `POST /register` are open")]
    provider: Annotated[str | None, Field(description="path to the identity provider's sign-in; null without one")]


class Index(TypedDict):
    """A list of links for programs."""

    name: str
    version: str
    operations: Annotated[list[str], Field(description="the names of the operations")]
    docs: Annotated[str, Field(description="path of the interactive documentation")]
    openapi: Annotated[str, Field(description="path of this document")]
    health: Annotated[str, Field(description="path that answers while the process is alive")]
    sign_in: SignIn


class Liveness(TypedDict):
    """The proof that the process responds."""

    status: Literal["ok"]


class DependencyState(TypedDict):
    """The state of one dependency."""

    ok: bool
    latency_ms: Annotated[float, Field(description="how long its ping took, milliseconds")]
    detail: NotRequired[Annotated[str, Field(description="what is wrong, where something is")]]


class Readiness(TypedDict):
    """The state of the service and of each dependency."""

    status: ServiceStatus
    checks: Annotated[dict[str, DependencyState], Field(description="the dependencies by name")]


class Figures(TypedDict):
    """The key figures of a process. A count or an age that does not apply to the process is 0."""

    connections: Annotated[int, Field(description="open connections of clients")]
    event_subscribers: Annotated[int, Field(description="clients of the event feed")]
    compute_workers: Annotated[int, Field(description="worker processes at most")]
    computing: Annotated[int, Field(description="computations in worker processes")]
    compute_waiting: Annotated[int, Field(description="computations that wait for a worker")]
    database_queues: Annotated[dict[str, int], Field(description="database operations running or waiting, by queue")]
    recorder_rows: Annotated[int, Field(description="calculations that wait for a commit")]
    audit_waiting: Annotated[int, Field(description="audit entries that wait for the database")]
    outbox_backlog: Annotated[int, Field(description="unpublished events; only the publishing process knows them")]
    outbox_oldest_seconds: Annotated[float, Field(description="age of the oldest unpublished event")]
    relay_leading: Annotated[bool, Field(description="whether this process publishes events")]
    cache_circuit: Annotated[Circuit, Field(description="the breaker of the shared cache")]
    disk_free_bytes: Annotated[int | None, Field(description="on the SQLite file's disk; null without file or reserve")]
    disk_reserve_bytes: Annotated[int, Field(description="calculations are refused below this much free disk")]


class InstanceItem(TypedDict):
    """A running process."""

    id: Uuid
    command: Literal["serve", "relay", "consume"]
    version: str
    started_at: Timestamp
    seen_at: Annotated[Timestamp, Field(description="when it last reported; each reports every 10 s")]
    figures: Figures


class Overview(TypedDict):
    """The state of the whole service."""

    version: Annotated[str, Field(description="of the process that answers")]
    status: ServiceStatus
    checks: Annotated[dict[str, DependencyState], Field(description="the dependencies by name, as at /readyz")]
    dead_letters: Annotated[int, Field(description="the number of dead letters")]
    instances: Annotated[list[InstanceItem], Field(description="the running processes, the oldest first")]


class DeadLetterItem(TypedDict):
    """An event that could not be delivered or read, or a message that is no event of this service."""

    id: Annotated[int, Field(description="the dead letter's number")]
    stage: Annotated[Literal["relay", "consumer"], Field(description="where it failed")]
    event_id: Annotated[Uuid | None, Field(description="the calculation's id; null: no event of this service")]
    origin: Annotated[str, Field(description="where it came from, such as a topic, partition and offset")]
    reason: str
    content: Annotated[str, Field(description="up to 8 KiB; bytes that are not UTF-8 are escaped")]
    created_at: Timestamp


class DeadLetterPage(TypedDict):
    """A page of the dead letters, the oldest first."""

    items: list[DeadLetterItem]
    next_cursor: NextCursor
