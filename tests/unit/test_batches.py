"""Batches: the form of a request body, and errors of single items."""

from __future__ import annotations

import json

import pytest

from pycalc.errors import InvalidInput
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options
from pycalc.services.calculations.requests import read_batch

ITEM = {"operation": "fibonacci", "input": {"n": 7}}


def body(*items: object) -> bytes:
    """Return the body of a batch with these items."""
    return json.dumps({"operations": items}).encode()


def refused(text: bytes) -> list[str]:
    """Return the pointers of the errors in a batch that is refused."""
    with pytest.raises(InvalidInput) as error:
        read_batch(text)
    return [problem.pointer for problem in error.value.problems]


@pytest.mark.parametrize(
    ("count", "pointers"), [(0, ["/operations"]), (1, None), (1_000, None), (1_001, ["/operations"])]
)
def test_a_batch_has_1_to_1000_items(count: int, pointers: list[str] | None) -> None:
    """A batch of 1 or 1,000 items is accepted; one of 0 or 1,001 items is refused."""
    text = body(*[ITEM] * count)
    if pointers is None:
        assert read_batch(text) == [("fibonacci", ("7",), DEFAULT_OPTIONS)] * count
    else:
        assert refused(text) == pointers


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b'{"operations": [Infinity]}', b"[" * 100_000, b"\xff"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """A body that is not JSON is refused as a whole."""
    assert refused(text) == [""]


@pytest.mark.parametrize("text", [b"[]", b"1", b"{}", b'{"operations": [], "more": 1}', b'{"operation": []}'])
def test_another_form_is_refused(text: bytes) -> None:
    """A body that is not an object with ``operations`` as its only member is refused."""
    assert refused(text) == [""]


def test_the_errors_of_all_items_are_listed() -> None:
    """If items have the wrong form, the whole batch is refused, with a pointer to each error in the body."""
    items = [
        *(ITEM, 1, {"operation": "fibonacci"}, {**ITEM, "more": 1}, {"operation": "sine", "input": {}}),
        *({"operation": 1, "input": {}}, {"operation": "sine", "input": []}),
        {"operation": "fibonacci", "input": {"n": None, "a/b": [], "mod": "7"}},
    ]
    assert refused(body(*items)) == [
        *("/operations/1", "/operations/2", "/operations/3", "/operations/4/operation", "/operations/5/operation"),
        *("/operations/6/operation", "/operations/6/input", "/operations/7/input/n", "/operations/7/input/a~1b"),
    ]
    assert refused(b'{"operations": {}}') == ["/operations"]


@pytest.mark.parametrize(
    ("number", "literal"),
    [("5", "5"), ("5.0", "5"), ("5.00", "5"), ("5.10", "5.10"), ("1e3", "1e3"), ("0.1", "0.1"), ("9" * 400, "9" * 400)],
)
def test_a_number_is_the_literal_it_is(number: str, literal: str) -> None:
    """A number keeps all its digits and never becomes a float; 5.0, as some languages write it, means 5."""
    text = f'{{"operations": [{{"operation": "fibonacci", "input": {{"n": {number}}}}}]}}'
    assert read_batch(text.encode()) == [("fibonacci", (literal,), DEFAULT_OPTIONS)]


def test_an_item_that_is_wrong_by_itself_stands_as_its_error() -> None:
    """An item with invalid operands or options is replaced by its error; the other items are accepted.

    Options, such as ``mod``, are members of ``input`` too.
    """
    read = read_batch(
        body(
            {"operation": "pow", "input": {"y": 3, "x": "2", "mod": 7}},
            {"operation": "pow", "input": {"x": 2}},
            {"operation": "fibonacci", "input": {"n": 1, "precision": 7}},
        )
    )
    assert read[0] == ("pow", ("2", "3"), Options(modulus="7"))
    pointers = [
        [problem.pointer for problem in error.problems] for error in read[1:] if isinstance(error, InvalidInput)
    ]
    assert pointers == [["/y"], ["/precision"]]
