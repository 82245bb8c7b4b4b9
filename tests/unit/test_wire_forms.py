"""JSON and CSV that the service encodes without Pydantic: both match the models and the documented limits."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import NotRequired

import pytest
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from pycalc.models.audit import AUDIT_CSV_HEADER, AuditEntry, encode_entry_csv
from pycalc.models.events import event_of
from pycalc.models.formats import Timestamp, Uuid
from pycalc.models.history import CSV_HEADER, HistoryItem, HistoryRow, encode_csv, encode_item
from pycalc.models.ids import text_of_id
from pycalc.models.json_text import json_literal
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, make_plan
from tests.harness.stores import history_row


class CloudEvent(TypedDict):
    """A calculation as an event."""

    specversion: str
    id: Uuid
    source: str
    type: str
    subject: Uuid
    time: Timestamp
    datacontenttype: str
    traceparent: NotRequired[str]
    data: HistoryItem


EVENT = TypeAdapter(CloudEvent)
ITEM = TypeAdapter(HistoryItem)
MAX_EVENT_BYTES = 8 * 1024
LARGEST = history_row()._replace(
    username="u" * 32,
    operation="fibonacci",
    result="-" + "9" * 1_000,
    digits="1000",
    leading="9" * 20,
    trailing="9" * 20,
    sha256=b"\xff" * 32,
    exact=False,
    elapsed_us=10**12,
    traceparent="00-" + "f" * 32 + "-" + "f" * 16 + "-01",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0"),
        ("-1", "-1"),
        ("9007199254740991", "9007199254740991"),
        ("9007199254740992", '"9007199254740992"'),
        ("-9007199254740991", "-9007199254740991"),
        ("-9007199254740992", '"-9007199254740992"'),
        ("354224848179261915075", '"354224848179261915075"'),
        ("0.5", '"0.5"'),
        ("1/3", '"1/3"'),
        ("-1/3", '"-1/3"'),
        ("1e-9", '"1e-9"'),
        ('{"root":9,"remainder":18}', '{"root":9,"remainder":18}'),
        ("9" * 5_000, '"' + "9" * 5_000 + '"'),
    ],
)
def test_integers_are_numbers_where_every_reader_keeps_them(text: str, expected: str) -> None:
    """In JSON, objects and integers within ±(2^53 - 1) are written as they are, all other values as strings.

    Many JSON readers do not keep larger integers exact (RFC 7493 §2.2).
    """
    assert json_literal(text) == expected


@pytest.mark.parametrize(
    "row",
    [
        history_row(7),
        history_row()._replace(result=None, digits="208988", sha256=None),
        history_row()._replace(result="1/3", exact=False, cached=True, elapsed_us=0),
        history_row()._replace(result="354224848179261915075", input='{"x":"0.1","y":3,"precision":7}'),
        LARGEST,
    ],
)
def test_an_item_is_what_the_model_says(row: HistoryRow) -> None:
    """The JSON of every row is a valid HistoryItem with the row's values and no other members."""
    text = encode_item(row)
    item = ITEM.validate_json(text, strict=True, extra="forbid")
    assert item.keys() == HistoryItem.__annotations__.keys()
    assert json.loads(text) == item
    assert (item["id"], item["user"]) == (text_of_id(row.id), row.username)
    assert (item["exact"], item["cached"]) == (row.exact, row.cached)
    assert item["result"] is None if row.result is None else str(item["result"]) == row.result
    assert item["sha256"] == (None if row.sha256 is None else row.sha256.hex())


CSV_ROWS = [
    history_row(7),
    LARGEST,
    history_row()._replace(result=None, digits="208988", sha256=None, leading="0064"),
    history_row()._replace(result="-1/3", operation="pow", input='{"x":"-0.5","y":-3,"precision":7}', exact=False),
    history_row()._replace(result="-1.5e-300", username="a.b-c_1"),
    history_row()._replace(result="-11", input='{"n":-3,"base":2}'),
    history_row()._replace(result='{"root":9,"remainder":18}', digits="0", leading="", trailing="", exact=False),
    history_row()._replace(input=json.dumps({"x": f"{'9' * 20}...{'9' * 20} (1001 characters, SHA-256 {'0' * 64})"})),
]


@pytest.mark.parametrize("row", CSV_ROWS)
def test_a_line_of_csv_has_the_items_values(row: HistoryRow) -> None:
    """A CSV line ends in CRLF (RFC 4180) and has the values of the JSON item: null is empty, operands are JSON."""
    line = encode_csv(row)
    assert line.endswith("\r\n")
    assert line.count("\n") == 1
    (cells,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    item = json.loads(encode_item(row))
    told = dict(zip(CSV_HEADER.removesuffix("\r\n").split(","), cells, strict=True))
    assert told.keys() == item.keys()
    assert json.loads(told.pop("input")) == item.pop("input")
    assert float(told.pop("elapsed_ms")) == item.pop("elapsed_ms")
    if isinstance(item["result"], dict) or '"base"' in row.input:
        assert json.loads(told.pop("result")) == item.pop("result")
    words = {None: "", True: "true", False: "false"}
    assert told == {
        name: words[value] if value is None or isinstance(value, bool) else str(value) for name, value in item.items()
    }


@pytest.mark.parametrize("row", CSV_ROWS)
def test_no_cell_is_a_formula(row: HistoryRow) -> None:
    """No cell begins with =, +, @, a tab or a carriage return; a minus begins only numbers and fractions."""
    (cells,) = csv.reader(io.StringIO(encode_csv(row), newline=""), strict=True)
    assert not [text for text in cells if text.startswith(("=", "+", "@", "\t", "\r"))]
    assert all(re.fullmatch(r"-[0-9]+([./][0-9]+)?(e-?[0-9]+)?", text) for text in cells if text.startswith("-"))


@pytest.mark.parametrize(
    ("subject", "cell"),
    [
        ("ada", "ada"),
        ("ada;bob", "ada;bob"),
        ("=1+1", "'=1+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "\t'=1"),
        ("\uff1d1+1", "'\uff1d1+1"),  # full-width signs begin formulas in East Asian editions
        ("a;=1+1;b", "a;'=1+1;b"),  # some languages separate cells by semicolons
        ("a\r\n+1", "a\r\n'+1"),
    ],
)
def test_a_name_in_the_audit_log_is_no_formula(subject: str, cell: str) -> None:
    """An apostrophe precedes each part of a name that a spreadsheet might read as a formula, in any locale."""
    entry = AuditEntry(b"\x01" * 16, 0, "login refused", None, subject, None, "refused", "{}")
    (cells,) = csv.reader(io.StringIO(encode_entry_csv(entry), newline=""), strict=True)
    assert dict(zip(AUDIT_CSV_HEADER.removesuffix("\r\n").split(","), cells, strict=True))["subject"] == cell


def test_the_details_in_the_audit_log_are_one_cell_of_json_in_any_language() -> None:
    """The details are one CSV cell of JSON; semicolons, which separate cells in some locales, are escaped."""
    details = {"name": "a;=1+1;b"}
    entry = AuditEntry(b"\x01" * 16, 0, "key created", "ada", "ada", None, "done", json.dumps(details))
    line = encode_entry_csv(entry)
    assert ";" not in line
    (cells,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert json.loads(cells[-1]) == details


def test_an_event_is_a_cloud_event_around_the_item() -> None:
    """An event has the required attributes, the calculation's id, and the item as its data (CloudEvents 1.0 §3.1)."""
    row = history_row(7)
    event = event_of(row)
    told = EVENT.validate_json(event.payload, strict=True, extra="forbid")
    assert (event.id, event.key) == (row.id, row.user_id)
    assert told["data"] == json.loads(encode_item(row))
    assert told["id"] == told["data"]["id"] == text_of_id(row.id)
    assert told["subject"] == text_of_id(row.user_id)
    assert told["time"] == told["data"]["created_at"]
    assert (told["specversion"], told["type"]) == ("1.0", "pycalc.operation.completed.v1")


def test_the_time_of_an_item_is_that_of_its_id() -> None:
    """The time of a row without ``created_ms`` is taken from its id, here the example id of RFC 9562, appendix A.6."""
    row = history_row()._replace(id=bytes.fromhex("017f22e279b07cc398c4dc0c0c07398f"))
    assert json.loads(encode_item(row))["created_at"] == "2022-02-22T19:22:22.000Z"


@pytest.mark.parametrize(
    ("operation", "literals", "precision"),
    [
        ("fibonacci", ("9" * 10_000,), 50),
        ("pow", ("9" * 10_000, "1"), 50),
        ("pow", ("0." + "7" * 9_998, "0." + "9" * 9_998), 10_000),
        ("pow", ("9" * 1_000, "0." + "9" * 998), 10_000),
    ],
    ids=["an index", "a long one", "two of the longest", "two that stand as they are"],
)
def test_an_event_never_exceeds_8_kib(operation: str, literals: tuple[str, ...], precision: int) -> None:
    """Long operands together with the largest stored result make an event of at most 8 KiB."""
    plan = make_plan(25_000_000, operation, literals, Options(precision))
    row = LARGEST._replace(operation=operation, input=plan.recorded_input)
    payload = event_of(row).payload
    assert len(payload) <= MAX_EVENT_BYTES
    told = EVENT.validate_json(payload, strict=True, extra="forbid")
    assert told["data"]["result"] == LARGEST.result
    assert told["data"]["input"] == json.loads(plan.recorded_input)


def test_the_longest_modulus_does_not_exceed_8_kib_either() -> None:
    """Operands and a modulus of 10,000 characters each are abbreviated, so that the event has at most 8 KiB."""
    plan = make_plan(25_000_000, "pow", ("7" * 10_000, "9" * 10_000), Options(modulus="3" * 10_000))
    assert len(event_of(LARGEST._replace(operation="pow", input=plan.recorded_input)).payload) <= MAX_EVENT_BYTES


def test_long_operands_are_recorded_by_their_ends_length_and_digest() -> None:
    """An operand of up to 1,000 characters is recorded as it is.

    Of a longer one, 20 characters from each end, the length and the SHA-256 (checked by sha256sum) are recorded.
    """
    recorded = json.loads(make_plan(25_000_000, "pow", ("9" * 1_001, "1"), DEFAULT_OPTIONS).recorded_input)
    digest = "663bbd9ed59af005a385b54c35ed317116420a741bf214d5bfebdc981a9ba472"
    assert recorded == {"x": f"{'9' * 20}...{'9' * 20} (1001 characters, SHA-256 {digest})", "y": 1}
    plan = make_plan(25_000_000, "pow", ("9" * 1_001, "1"), DEFAULT_OPTIONS)
    assert json.loads(plan.input) == {"x": "9" * 1_001, "y": 1}
    short = make_plan(25_000_000, "pow", ("9" * 1_000, "1"), DEFAULT_OPTIONS)
    assert json.loads(short.recorded_input) == json.loads(short.input) == {"x": "9" * 1_000, "y": 1}
