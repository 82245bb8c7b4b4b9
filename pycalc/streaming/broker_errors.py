"""Errors of a broker, which become log lines, metrics and StreamUnavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from structlog import get_logger

from pycalc.errors import EventsRefused, StreamUnavailable
from pycalc.observability.metrics import EventMetrics

# A failed publish makes ``check`` fail for this long. The relay retries sooner than this.
_STUCK_SECONDS = 40.0

_log = get_logger(__name__)


@dataclass(eq=False)
class BrokerErrors:
    """A mapping of a driver's exceptions to StreamUnavailable."""

    errors: tuple[type[Exception], ...]  # the classes of these exceptions
    explain: Callable[[Exception], tuple[str, str]]  # returns the name and the reason of an exception
    metrics: EventMetrics
    clock: Callable[[], float] = monotonic
    _last_reason: str = field(default="", init=False)
    _logged: set[str] = field(default_factory=set, init=False)
    _stuck_until: float = field(default=-inf, init=False)

    def note(self, name: str, reason: str) -> None:
        """Remember an error that the driver reports outside of calls, in any thread. Log each name once an outage."""
        self._last_reason = reason
        if name not in self._logged:
            self._logged.add(name)
            _log.warning("the broker reports an error", error=name, reason=reason)

    @contextmanager
    def mapped(self, call: str, what: str) -> Iterator[None]:
        """Return a context that logs and counts the driver's errors and timeouts, and then raises StreamUnavailable.

        ``call`` is the label in the metric, ``what`` the message. After a failure of the call "publish", ``check``
        fails for 40 s, or until a publish succeeds.
        """
        try:
            yield
            return
        except TimeoutError:
            name, reason = "deadline", "no answer in time"
        except self.errors as error:
            name, reason = self.explain(error)
        self.metrics.stream_failures.labels(call).inc()
        if call == "publish":
            self._stuck_until = self.clock() + _STUCK_SECONDS
        _log.warning(what, call=call, error=name, reason=reason, broker_error=self._last_reason)
        raise StreamUnavailable(f"{what}.")

    def answered(self) -> None:
        """Note that the broker answers. From then on, ``note`` logs each error once again."""
        self._last_reason = ""
        self._logged.clear()

    def published(self, what: str, refused: Mapping[bytes, str]) -> None:
        """Note that the broker has stored a batch of events. Raises EventsRefused if ``refused`` has reasons, by id."""
        self.answered()
        self._stuck_until = -inf
        if refused:
            self.metrics.events_refused.inc(len(refused))
            raise EventsRefused(what, dict(refused))

    def check(self) -> None:
        """Raise StreamUnavailable if the last publish failed less than 40 s ago. Later, another process may publish."""
        if self.clock() < self._stuck_until:
            raise StreamUnavailable("The stream does not accept events.")
