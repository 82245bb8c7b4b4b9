"""JSON texts that the service puts together itself: they decode to the original values."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pycalc.models.events import event_of
from pycalc.models.history import HistoryRow, encode_item
from pycalc.models.json_text import LARGEST_JSON_INTEGER, json_literal, quoted
from pycalc.models.usage import Total, encode_report

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
RESULTS = TEXTS.filter(lambda text: text[:1] not in ("[", "{"))  # those begin a list or an object
BOOLEANS = ("true", "false")
COUNTS = st.integers(0, 10**30)
ROWS = st.builds(
    HistoryRow,
    id=st.binary(min_size=16, max_size=16).map(lambda id_: bytes(6) + id_[6:]),
    user_id=st.binary(min_size=16, max_size=16),
    username=TEXTS,
    operation=TEXTS,
    input=st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3).map(json.dumps),
    result=st.none() | RESULTS,
    digits=COUNTS.map(str),
    exact=st.booleans(),
    leading=TEXTS,
    trailing=TEXTS,
    sha256=st.none() | st.binary(min_size=32, max_size=32),
    cached=st.booleans(),
    elapsed_us=st.integers(0, 10**12),
    traceparent=st.none() | TEXTS,
    created_ms=st.none() | st.integers(0, 10**12),
)


@given(TEXTS)
def test_a_quoted_text_is_read_back(text: str) -> None:
    """A quoted text decodes to itself, whatever characters it contains."""
    assert json.loads(quoted(text)) == text


@given(RESULTS.filter(lambda text: text not in BOOLEANS) | COUNTS.map(str) | st.text("0123456789-+.e¹٣", max_size=18))
def test_a_literal_has_the_same_characters(text: str) -> None:
    """A literal decodes to the original text, or to the same integer if that is within ±(2^53 - 1)."""
    value = json.loads(json_literal(text))
    assert value == text or (isinstance(value, int) and abs(value) <= LARGEST_JSON_INTEGER and value == int(text))


@given(ROWS)
def test_an_item_and_its_event_say_what_the_row_says(row: HistoryRow) -> None:
    """The history item and the event that are made from a row decode to the values of the row."""
    item = json.loads(encode_item(row))
    event = json.loads(event_of(row).payload)
    assert event["data"] == item
    assert event.get("traceparent") == row.traceparent
    told = (item["operation"], item["leading"], item["trailing"], item["user"])
    assert told == (row.operation, row.leading, row.trailing, row.username)
    assert item["input"] == json.loads(row.input)
    assert item["sha256"] == (None if row.sha256 is None else row.sha256.hex())
    assert (item["exact"], item["cached"], round(item["elapsed_ms"] * 1000)) == (row.exact, row.cached, row.elapsed_us)
    assert item["result"] == (None if row.result is None else json.loads(json_literal(row.result)))


@given(st.lists(st.builds(Total, st.integers(0, 20_000), TEXTS, COUNTS, COUNTS, COUNTS, st.integers(0, 10**12))))
def test_a_usage_report_says_what_the_totals_say(totals: list[Total]) -> None:
    """The operations and counts of a usage report decode to those of the totals."""
    items = json.loads(encode_report(totals, []))["items"]
    assert [(item["operation"], item["count"], item["cached"]) for item in items] == [
        (total.operation, total.calculations, total.cached) for total in totals
    ]
