"""What goes wrong with a broker: told to the log, to the metrics, and to callers as StreamUnavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from structlog import get_logger

from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import EventMetrics

_STUCK_SECONDS = 40.0
"""How long a failed publish is held against the stream: longer than it takes who goes on trying to fail again."""

_log = get_logger(__name__)


class BrokerErrors:
    """Maps the errors of one driver; ``explain`` gives an error's name and its reason."""

    def __init__(
        self,
        errors: tuple[type[Exception], ...],
        explain: Callable[[Exception], tuple[str, str]],
        metrics: EventMetrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._errors = errors
        self._explain = explain
        self._failures = metrics.stream_failures
        self._trouble = ""
        self._told: set[str] = set()
        self._clock = clock
        self._stuck_until: float | None = None

    def note(self, name: str, reason: str) -> None:
        """Keep an error that the driver tells of between calls; log the first of its name. Any thread may call this."""
        self._trouble = reason
        if name not in self._told:
            self._told.add(name)
            _log.warning("The broker is in trouble.", error=name, reason=reason)

    @contextmanager
    def mapped(self, call: str, what: str) -> Iterator[None]:
        """Raise StreamUnavailable for the driver's errors and for a deadline; the reason goes to the log."""
        try:
            yield
        except TimeoutError:
            raise self.unavailable(call, what, "deadline", "no answer in time") from None
        except self._errors as error:
            raise self.unavailable(call, what, *self._explain(error)) from None

    def unavailable(self, call: str, what: str, name: str, reason: str) -> StreamUnavailable:
        """Return what to raise after a call has failed; ``what`` is for everybody, the reason is for the log."""
        self._failures.labels(call).inc()
        if call == "publish":
            self._stuck_until = self._clock() + _STUCK_SECONDS
        _log.warning(what, call=call, error=name, reason=reason, trouble=self._trouble)
        return StreamUnavailable(what)

    def over(self) -> None:
        """Say that the broker answers: the next trouble is news again."""
        self._trouble = ""
        self._told.clear()

    def taken(self) -> None:
        """Say that the broker has taken events."""
        self.over()
        self._stuck_until = None

    def check(self) -> None:
        """Raise StreamUnavailable when the last events were not taken, a while ago at most: another may publish now."""
        if self._stuck_until is not None and self._clock() < self._stuck_until:
            raise StreamUnavailable("The stream does not take events.")
