"""The JSON that is written by hand is what the models describe, and stays within the contract's bounds."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from pycalc.models.events import CloudEvent, event_of
from pycalc.models.history import HistoryItem, HistoryRow, encode_item
from pycalc.models.ids import text_of_id
from pycalc.models.math import json_literal
from tests.services.stores import history_row

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
        ("9" * 5_000, '"' + "9" * 5_000 + '"'),
    ],
)
def test_integers_are_numbers_where_every_reader_keeps_them(text: str, expected: str) -> None:
    """RFC 7493 §2.2: within ±(2^53 - 1) a JSON number, everything else a string with the same characters."""
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
    """Every row's JSON is a HistoryItem, strictly, with no member more or less, and says what the row says."""
    text = encode_item(row)
    item = ITEM.validate_json(text, strict=True, extra="forbid")
    assert item.keys() == HistoryItem.__annotations__.keys()
    assert json.loads(text) == item
    assert (item["id"], item["user"]) == (text_of_id(row.id), row.username)
    assert (item["exact"], item["cached"]) == (row.exact, row.cached)
    assert item["result"] is None if row.result is None else str(item["result"]) == row.result
    assert item["sha256"] == (None if row.sha256 is None else row.sha256.hex())


def test_an_event_is_a_cloud_event_around_the_item() -> None:
    """CloudEvents 1.0 §3.1: the required attributes, the calculation's id, and the item as its data."""
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
    """The example of RFC 9562 appendix A.6 was made on 2022-02-22 at 19:22:22 UTC."""
    row = history_row()._replace(id=bytes.fromhex("017f22e279b07cc398c4dc0c0c07398f"))
    assert json.loads(encode_item(row))["created_at"] == "2022-02-22T19:22:22.000Z"


@pytest.mark.parametrize(
    "operands",
    [
        {"x": "9" * 10_000, "y": 1},
        {"x": "9" * 10_000, "y": "0." + "9" * 9_998, "precision": 10_000},
        {"x": 1, "y": "9" * 4_000},
    ],
    ids=["a long one", "two of the longest", "the most that stays"],
)
def test_an_event_never_exceeds_8_kib(operands: dict[str, object]) -> None:
    """Brokers' and readers' limit holds for the longest literals that are accepted, with the largest stored result."""
    row = LARGEST._replace(input=json.dumps(operands, separators=(",", ":")))
    payload = event_of(row).payload
    assert len(payload) <= MAX_EVENT_BYTES
    told = EVENT.validate_json(payload, strict=True, extra="forbid")
    assert told["data"]["result"] == LARGEST.result


def test_only_operands_that_do_not_fit_are_left_out_of_an_event() -> None:
    """A long operand is null in the event, never cut; the others stay, and the history keeps all of them."""
    row = history_row()._replace(input=json.dumps({"x": "9" * 10_000, "y": 1, "precision": 7}))
    assert json.loads(event_of(row).payload)["data"]["input"] == {"x": None, "y": 1, "precision": 7}
    assert json.loads(encode_item(row))["input"]["x"] == "9" * 10_000
    fits = history_row()._replace(input=json.dumps({"x": "9" * 4_000, "y": 1}))
    assert json.loads(event_of(fits).payload)["data"]["input"] == {"x": "9" * 4_000, "y": 1}
