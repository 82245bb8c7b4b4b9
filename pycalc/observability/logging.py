"""Structured logs: one JSON object per line on standard error."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Literal

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from pycalc.models.ids import now_ms, text_of_id
from pycalc.models.times import timestamp
from pycalc.observability.repeats import RepeatFilter
from pycalc.observability.requests import LONGEST, context_of, current, header, request_id_of, trace_of

Format = Literal["json", "google"]

_SEVERITIES = {"warn": "WARNING", "exception": "ERROR", "notset": "DEFAULT"}
_GOOGLE = "logging.googleapis.com/"
_TEXT, _TRACEBACK = 2_000, 20_000  # the most characters of a text and of a traceback that a record repeats


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
    """Shorten long texts, and long texts in lists, to their two ends: another program's message may have any length."""

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
    """Write the log records of structlog and the standard library to standard error as JSON lines.

    ``form`` is ``json``, or ``google`` for the field names of Google Cloud Logging. Identical records are rate limited.
    Long texts are shortened.
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
