"""Requests with an idempotency key: each is executed once, and a retry gets the recorded answer (ADR 33)."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import NamedTuple, TypeVar

from pydantic_core import to_json

from pycalc.db.base import HistoryStore, IdempotencyStore
from pycalc.errors import Conflict, FieldProblem, InvalidInput, KeysTaken, StillRunning
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import ID_BYTES, RequestKey
from pycalc.observability.metrics import Metrics

HEADER = "Idempotency-Key"
_TOO_LONG = (
    "This calculation failed, but the batch's errors are too long to be kept for its Idempotency-Key: send it alone, "
    "without the key, to learn why."
)
_SHORT_MEMBERS = ("type", "title", "status", "instance")

T = TypeVar("T")


class Recorded(NamedTuple):
    """The recorded outcome of a request: the history rows in order, and the JSON of each error by its item's index."""

    rows: list[HistoryRow]
    problems: Mapping[int, bytes]


def key_of(user_id: bytes, name: str, request: bytes) -> RequestKey:
    """Return the idempotency key of a user's request. ``name`` is the key that the client sent.

    ``request`` must have all bytes of the request, for its fingerprint. 128 bits of each hash suffice: users could only
    search for collisions among their own keys.
    """
    return RequestKey(sha256(user_id + name.encode()).digest()[:ID_BYTES], sha256(request).digest()[:ID_BYTES])


def problem_bytes(items: int) -> int:
    """Return the size in bytes above which the stored errors of a batch with this many items are shortened."""
    return 96 + 64 * items


def packed(problems: Mapping[int, Mapping[str, object]], items: int) -> tuple[bytes | None, Mapping[int, bytes]]:
    """Return the errors of a batch of ``items`` items twice: packed for the database, and as JSON by the item's index.

    ``problems`` has the members of each error (RFC 9457), by the item's index. Without errors, the packed bytes are
    None. If they would exceed ``problem_bytes(items)``, the errors are shortened in both forms, because a retry must
    get the same answer. The shortened errors fit, unless all items fail, and then nothing is stored.
    """
    answered = {index: to_json(problem) for index, problem in problems.items()}
    pack = _pack(answered)
    if len(pack) > problem_bytes(items):
        answered = {
            index: to_json({**{name: problem[name] for name in _SHORT_MEMBERS}, "detail": _TOO_LONG})
            for index, problem in problems.items()
        }
        pack = _pack(answered)
    return (pack if problems else None), answered


def _pack(problems: Mapping[int, bytes]) -> bytes:
    return zlib.compress(b"\n".join([b"%d %b" % problem for problem in problems.items()]))


def unpacked(pack: bytes | None) -> Mapping[int, bytes]:
    """Return the JSON of each error of a batch by the index of its item; ``pack`` comes from ``packed``."""
    lines = [] if pack is None else zlib.decompress(pack).split(b"\n")
    return {int(index): problem for index, _, problem in (line.partition(b" ") for line in lines)}


class IdempotencyKeys:
    """The idempotency keys of the requests that run in this process, and of those that any process has recorded.

    Of two requests with the same key in two processes, the commit of the second fails, and ``once`` handles it like a
    retry.
    """

    def __init__(self, store: IdempotencyStore, history: HistoryStore, metrics: Metrics) -> None:
        self._store = store
        self._history = history
        self._running: set[bytes] = set()  # bounded by the number of requests in progress
        self._outcomes = metrics.idempotency_keys
        metrics.idempotent_running.set_function(lambda: len(self._running))

    async def once(
        self, key: RequestKey, calculate: Callable[[], Awaitable[T]], again: Callable[[Recorded], Awaitable[T]]
    ) -> T:
        """Return the result of ``calculate`` or, if the request is recorded already, the result of ``again``.

        ``calculate`` must record the request with its key, or raise KeysTaken if another request has recorded the key
        meanwhile. The argument of ``again`` is the recorded outcome.

        Raises StillRunning if a request with this key is running in this process, or if the key has just expired.
        Raises InvalidInput if the key was recorded with another request, and Conflict if some of the calculations are
        deleted. Raises the other errors of both functions, and StoreUnavailable.
        """
        if key.id in self._running:
            self._outcomes.labels("running").inc()
            raise StillRunning(f"A request with this {HEADER} has not ended yet; retry in 1 s.")
        self._running.add(key.id)
        try:
            recorded = await self._recorded(key)
            if recorded is None:
                try:
                    answer = await calculate()
                    self._outcomes.labels("first").inc()
                    return answer
                except KeysTaken:  # taken by another process, or by an earlier request whose client has disconnected
                    recorded = await self._recorded(key)
                    if recorded is None:
                        raise StillRunning(f"This {HEADER} has just expired; retry in 1 s.") from None
            answer = await again(recorded)
            self._outcomes.labels("replayed").inc()
            return answer
        finally:
            self._running.discard(key.id)

    async def _recorded(self, key: RequestKey) -> Recorded | None:
        stored = await self._store.find(key.id)
        if stored is None:
            return None
        if stored.fingerprint != key.fingerprint:
            self._outcomes.labels("reused").inc()
            detail = f"This {HEADER} was sent with another request: send a new key with each new request."
            raise InvalidInput.of(FieldProblem("/idempotency-key", detail))
        ids = stored.calculation_ids
        rows = await self._history.find_all(ids)
        if len(rows) != len(ids):
            self._outcomes.labels("deleted").inc()
            detail = f"The calculations of this {HEADER} were deleted from the history: send a new key to repeat them."
            raise Conflict(detail)
        return Recorded(rows, unpacked(stored.problems))
