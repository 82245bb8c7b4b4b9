"""Log records: their fields, and the names of the fields in each log format."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog

from pycalc.models.auth import Principal, Role
from pycalc.observability.logging import Format, RepeatFilter, configure_logging
from pycalc.observability.requests import REQUEST, RequestContext, context_of, current, request_id_of, trace_of
from tests.harness.stores import USER_ID

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01".encode()


def scope(**fields: str) -> dict[str, object]:
    """Return the ASGI scope of a request with these header fields."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return {
        "type": "http",
        "method": "GET",
        "path": "/fibonacci/7",
        "headers": headers,
        "http_version": "1.1",
        REQUEST: RequestContext(),
    }


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the tests' own logging at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    token = current.set(None)
    yield
    current.reset(token)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def logged(capsys: pytest.CaptureFixture[str], form: Format, **facts: object) -> dict[str, object]:
    """Log a record, and return its written form."""
    configure_logging(form=form)
    structlog.get_logger("pycalc.part").warning("it happened", **facts)
    (line,) = capsys.readouterr().err.splitlines()
    record: dict[str, object] = json.loads(line)
    return record


@pytest.mark.usefixtures("restored")
def test_a_record_outside_of_requests(capsys: pytest.CaptureFixture[str]) -> None:
    """A record outside of a request has event, time, level and logger, and no field of a request."""
    record = logged(capsys, "json", rows=3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(record.pop("timestamp")))
    assert record == {"event": "it happened", "level": "warning", "logger": "pycalc.part", "rows": 3}


@pytest.mark.usefixtures("restored")
def test_a_request_s_records_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """A record within a request has the client's request id, the user and the trace."""
    request = scope(x_request_id="order-66", traceparent=TRACEPARENT.decode())
    context_of(request).caller = Principal(USER_ID, "ada", Role.USER, bytes(16), 0.0)
    current.set(request)
    record = logged(capsys, "json")
    assert record["request_id"] == "order-66"
    assert record["user_id"] == "019aab12-7c00-7123-8456-426614174000"
    assert (record["trace_id"], record["span_id"], record["trace_sampled"]) == (TRACE, SPAN, True)


@pytest.mark.usefixtures("restored")
def test_a_record_for_cloud_logging(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Severity, message, time, trace and request have the field names that Cloud Logging interprets."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    current.set(scope(x_request_id="order-66", traceparent=TRACEPARENT.decode(), user_agent="curl/8"))
    record = logged(capsys, "google", status=429)
    assert record.pop("time")
    assert record == {
        "severity": "WARNING",
        "message": "it happened",
        "logging.googleapis.com/trace": f"projects/my-project/traces/{TRACE}",
        "logging.googleapis.com/spanId": SPAN,
        "logging.googleapis.com/trace_sampled": True,
        "httpRequest": {
            "requestMethod": "GET",
            "requestUrl": "/fibonacci/7",
            "protocol": "HTTP/1.1",
            "userAgent": "curl/8",
            "status": 429,
        },
        "request_id": "order-66",
        "trace_id": TRACE,
        "logger": "pycalc.part",
        "status": 429,
    }


@pytest.mark.usefixtures("restored")
def test_an_exception_for_cloud_logging(capsys: pytest.CaptureFixture[str]) -> None:
    """A logged exception has the severity ERROR, and its traceback is in the field that Error Reporting reads."""
    configure_logging(form="google")
    try:
        raise ValueError("no such thing")
    except ValueError:
        structlog.get_logger("pycalc.part").exception("it failed")
    record = json.loads(capsys.readouterr().err)
    assert (record["severity"], record["message"]) == ("ERROR", "it failed")
    assert "ValueError: no such thing" in record["stack_trace"]


@pytest.mark.usefixtures("restored")
def test_a_record_is_short_however_long_an_error_message_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A text of any length, such as another program's error message, is logged by its two ends."""
    text = f"begin{'x' * 1_000_000}end"
    configure_logging()
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("pycalc.part").exception("it failed", reason=text, reasons=[text])
    logging.getLogger("driver").error(text)
    written = capsys.readouterr().err
    assert len(written) < 30_000
    assert (written.count("beginx"), written.count("xend")) == (4, 4)


@pytest.mark.parametrize("given", ["", "two words", "a" * 129, "line\nfeed", "\x1b[2J", "é"])
def test_a_hostile_request_id_is_replaced(given: str) -> None:
    """An invalid request id is replaced by a generated one, the same in all records of the request."""
    request = scope(x_request_id=given)
    made = request_id_of(request)
    assert len(made) == 32
    assert int(made, 16) >= 0
    assert request_id_of(request) == made


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "00-x-y-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01é",
    ],
)
def test_an_invalid_traceparent_is_none(given: str | None) -> None:
    """An invalid traceparent is ignored (W3C Trace Context, §3.2)."""
    assert trace_of(None if given is None else given.encode("latin-1", "replace")) is None


def test_a_traceparent_is_read_and_written() -> None:
    """Trace id, parent id and the sampled flag are parsed and written unchanged."""
    for flags, sampled in (("01", True), ("00", False)):
        found = trace_of(f"00-{TRACE}-{SPAN}-{flags}".encode())
        assert found == (TRACE, SPAN, sampled)
        assert found is not None
        assert found.traceparent == f"00-{TRACE}-{SPAN}-{flags}"


class Repeated:
    """A logger that writes at most 3 identical records in 60 seconds; the test sets its clock."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.now = 100.0
        self._capsys = capsys
        configure_logging()
        (handler,) = logging.getLogger().handlers
        handler.filters[:] = [RepeatFilter(3, 60.0, lambda: self.now)]

    def written(self) -> list[dict[str, object]]:
        """Return the records written since the last call, without their times."""
        lines = [json.loads(line) for line in self._capsys.readouterr().err.splitlines()]
        return [{name: line[name] for name in line if name != "timestamp"} for line in lines]


@pytest.mark.usefixtures("restored")
def test_identical_records_are_written_a_few_times_and_then_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Identical records above the limit are only counted; the first one in the next interval has the count."""
    repeated = Repeated(capsys)
    log = structlog.get_logger("pycalc.part")
    for number in range(50):
        current.set(scope(x_request_id=f"request-{number}"))
        log.warning("it happened", rows=3)
    assert [line["request_id"] for line in repeated.written()] == ["request-0", "request-1", "request-2"]
    log.warning("it happened", rows=4)
    assert [line["rows"] for line in repeated.written()] == [4]
    repeated.now += 60
    log.warning("it happened", rows=3)
    summary, again = repeated.written()
    told = {name: summary[name] for name in ("event", "of", "suppressed", "logger")}
    assert told == {
        "event": "identical records suppressed",
        "of": "it happened",
        "suppressed": 47,
        "logger": "pycalc.part",
    }
    assert again["rows"] == 3


@pytest.mark.usefixtures("restored")
def test_tracebacks_are_identical_whatever_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Tracebacks that differ only in the request count as identical, so that a repeated error does not fill the log."""
    repeated = Repeated(capsys)
    for number in range(20):
        try:
            raise ValueError("a fault")
        except ValueError:
            structlog.get_logger("pycalc.part").exception("unexpected error", path=f"/fibonacci/{number}")
            logging.getLogger("driver").exception("failed")
    assert [line["event"] for line in repeated.written()] == ["unexpected error", "failed"] * 3


@pytest.mark.usefixtures("restored")
def test_the_audit_log_is_not_limited(capsys: pytest.CaptureFixture[str]) -> None:
    """The audit log is not limited, because each record in it matters."""
    repeated = Repeated(capsys)
    for _ in range(20):
        structlog.get_logger("pycalc.audit").info("session ended", user="ada")
    assert len(repeated.written()) == 20


@pytest.mark.usefixtures("restored")
def test_kinds_of_records_are_remembered_within_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """The number of remembered kinds of records is bounded; when a kind is forgotten, its count is logged."""
    repeated = Repeated(capsys)
    log = structlog.get_logger("pycalc.part")
    for _ in range(5):
        log.warning("it happened", rows=-1)
    for number in range(1_100):
        log.warning("it happened", rows=number)
    summaries = [line for line in repeated.written() if line["event"] == "identical records suppressed"]
    assert [line["suppressed"] for line in summaries] == [2]
