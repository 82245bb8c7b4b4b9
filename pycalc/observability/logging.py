"""Structured logs: one JSON object per line on standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, Literal, NamedTuple

import structlog
from structlog import get_logger
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from pycalc.models.formats import timestamp
from pycalc.models.ids import now_ms, text_of_id
from pycalc.observability.requests import LONGEST, context_of, current, header, request_id_of, trace_of

Format = Literal["json", "google"]

_SEVERITIES = {"warn": "WARNING", "exception": "ERROR", "notset": "DEFAULT"}
_GOOGLE = "logging.googleapis.com/"
_TEXT, _TRACEBACK = 2_000, 20_000  # the most characters of a text and of a traceback that a record repeats

_KEPT = 1_000  # the most kinds of records that are counted at the same time
_OF_REQUEST = {"request_id", "user_id", "trace_id", "span_id", "trace_sampled", "timestamp"}  # not compared
# The audit log limits refusals itself; its records of grants and revocations must all be written.
_UNLIMITED = "pycalc.audit"


def _add_facts(_: object, __: str, event: EventDict) -> EventDict:
    """Add the time, in the format of the API's responses, and the request's id, user and trace."""
    fields: dict[str, object] = {}
    scope = current.get()
    if scope is not None:
        context = context_of(scope)
        fields["request_id"] = request_id_of(scope)
        if context.caller is not None:
            fields["user_id"] = text_of_id(context.caller.user_id)
        trace = context.trace or trace_of(header(scope, b"traceparent"))
        if trace is not None:
            fields |= {"trace_id": trace.trace_id, "span_id": trace.span_id, "trace_sampled": trace.sampled}
    return {**fields, **event, "timestamp": timestamp(now_ms())}


def _shorten(_: object, __: str, event: EventDict) -> EventDict:
    """Shorten long texts, and long texts in lists, to their two ends."""

    def ends(value: Any, most: int) -> Any:
        if isinstance(value, list):
            return [ends(item, most) for item in value]
        if isinstance(value, str) and len(value) > most:
            return f"{value[: most // 2]} ... {value[-most // 2 :]}"
        return value

    return {name: ends(value, _TRACEBACK if name == "exception" else _TEXT) for name, value in event.items()}


def _google(_: object, __: str, event: EventDict) -> EventDict:
    """Rename fields to the special fields of Google Cloud Logging, and describe the request in ``httpRequest``."""
    level = str(event.pop("level", "info"))
    record: dict[str, Any] = {
        "severity": _SEVERITIES.get(level, level.upper()),
        "message": event.pop("event", ""),
        "time": event.pop("timestamp", None),
    }
    if "exception" in event:
        record["stack_trace"] = event.pop("exception")
    project, trace = os.environ.get("GOOGLE_CLOUD_PROJECT"), event.get("trace_id")
    if project and trace:
        record[f"{_GOOGLE}trace"] = f"projects/{project}/traces/{trace}"
        record[f"{_GOOGLE}spanId"] = event.pop("span_id")
        record[f"{_GOOGLE}trace_sampled"] = event.pop("trace_sampled")
    scope = current.get()
    if scope is not None:
        agent = header(scope, b"user-agent")
        record["httpRequest"] = {
            "requestMethod": scope["method"],
            "requestUrl": scope["path"][:LONGEST],
            "protocol": f"HTTP/{scope.get('http_version', '1.1')}",
            **({"userAgent": agent.decode("latin-1")[:LONGEST]} if agent else {}),
            **({"status": event["status"]} if "status" in event else {}),
        }
    return {**record, **event}


def configure_logging(level: int = logging.INFO, form: Format = "json") -> None:
    """Write the records of structlog and the standard library to standard error as JSON, without most repetitions.

    ``form`` is ``json``, or ``google`` for the field names of Google Cloud Logging.
    """
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_facts,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _shorten,
    ]
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    renamed = [_google] if form == "google" else []
    last: list[Any] = [ProcessorFormatter.remove_processors_meta, *renamed, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProcessorFormatter(processors=last, foreign_pre_chain=shared))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _Kind(NamedTuple):
    logger: str
    event: str
    since: float
    times: int


class RepeatFilter(logging.Filter):
    """A filter that passes up to ``most`` identical records in ``seconds``, and later logs how many it has dropped.

    Identical records have the same logger, level, message or fields, and exception, whatever the time and the request.
    If structlog's records have tracebacks, only logger, event and traceback count. Audit records always pass.
    """

    def __init__(self, most: int = 10, seconds: float = 60.0, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._kinds: OrderedDict[int, _Kind] = OrderedDict()
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record. Log how many records were suppressed in intervals that have ended."""
        if record.name == _UNLIMITED:
            return True
        event, key = _identity(record)
        expired = []
        with self._lock:
            while self._kinds:  # with too many kinds, the oldest interval ends early
                oldest = next(iter(self._kinds.values()))
                if len(self._kinds) < _KEPT and self._clock() < oldest.since + self._seconds:
                    break
                expired.append(self._kinds.popitem(last=False)[1])
            kind = self._kinds.get(key) or _Kind(record.name, event, self._clock(), 0)
            self._kinds[key] = kind._replace(times=kind.times + 1)
        for old in expired:
            if (suppressed := old.times - self._most) > 0:
                get_logger(old.logger).warning("identical records suppressed", of=old.event, suppressed=suppressed)
        return kind.times < self._most


def _identity(record: logging.LogRecord) -> tuple[str, int]:
    """Return the event of a record, and a hash that is equal for identical records."""
    if not isinstance(record.msg, dict):  # a record of the standard library
        event = record.getMessage()
        return event[:200], hash((record.name, record.levelno, event, str(record.exc_info and record.exc_info[1])))
    fields = record.msg
    event = str(fields.get("event", ""))
    if "exception" in fields:
        return event, hash((record.name, event, fields["exception"]))
    same = tuple(f"{name}={value!r}" for name, value in fields.items() if name not in _OF_REQUEST)
    return event, hash((record.name, record.levelno, same))
