"""Structured logs: one JSON object per line on standard error."""

from __future__ import annotations

import logging
import os
import sys
from time import time_ns
from typing import Any, Literal

import structlog

from pycalc.models.times import timestamp
from pycalc.observability.repeats import RepeatFilter
from pycalc.observability.requests import current, described, log_fields_of

Format = Literal["json", "google"]

_SEVERITIES = {"warn": "WARNING", "exception": "ERROR", "notset": "DEFAULT"}
_GOOGLE = "logging.googleapis.com/"


def _of_request(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the fields of the current request to a record."""
    scope = current.get()
    return event if scope is None else {**log_fields_of(scope), **event}


def _timed(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the time, in the format of the API's responses, so that both sort together."""
    event["timestamp"] = timestamp(time_ns() // 1_000_000)
    return event


def _google(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Rename a record's fields to the special fields of Google Cloud Logging's structured logs."""
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
        status = {"status": event["status"]} if "status" in event else {}
        record["httpRequest"] = {**described(scope), **status}
    return {**record, **event}


def configure_logging(level: int = logging.INFO, form: Format = "json") -> None:
    """Write the records of structlog and the standard library to standard error as JSON lines.

    ``form`` is ``json``, or ``google`` for the field names of Google Cloud Logging. Identical records are rate limited.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _of_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _timed,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([_google] if form == "google" else []),
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
