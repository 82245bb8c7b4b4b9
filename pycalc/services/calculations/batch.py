"""Batches: many calculations read from one body (ADR 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput, PycalcError
from pycalc.models.json_text import pointer_step, read_json, shown
from pycalc.models.math import MAX_BATCH
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, options_of
from pycalc.services.operations import OPERATIONS

Request = tuple[str, tuple[str, ...], Options]
"""An operation's name, its operands' literals, and the options."""


def read_batch(body: bytes) -> list[Request | PycalcError]:
    """Return the calculations that a body asks for; one with a missing or unknown operand stands as its error.

    Numbers are taken as the literals they are: no digit passes through a float. Raises InvalidInput when the body is
    not of the batch's form, with pointers into it.
    """
    document = read_json(body, _literal, 4 * MAX_BATCH)  # twice what the items need, each with its operands
    if not isinstance(document, dict) or document.keys() != {"operations"}:
        raise InvalidInput.of(FieldProblem("", 'The body must be {"operations": [...]}, with no other member.'))
    items = document["operations"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise InvalidInput.of(FieldProblem("/operations", f"operations must be a list of 1 to {MAX_BATCH:,} items."))
    if problems := [problem for index, item in enumerate(items) for problem in _malformed(index, item)]:
        raise InvalidInput.of(*problems)
    return [_request(item["operation"], item["input"]) for item in items]


def _literal(number: str) -> str:
    """Return a JSON number's literal; ``5.0`` is the integer 5, which is how some languages write it."""
    whole, _, fraction = number.partition(".")
    return number if fraction.strip("0") else whole


def _malformed(index: int, item: Any) -> Iterator[FieldProblem]:
    """Yield what is wrong with the form of one item."""
    at = f"/operations/{index}"
    if not isinstance(item, dict) or item.keys() != {"operation", "input"}:
        yield FieldProblem(at, 'An item must be {"operation": ..., "input": {...}}, with no other member.')
        return
    if not isinstance(item["operation"], str) or item["operation"] not in OPERATIONS:
        yield FieldProblem(f"{at}/operation", f"operation must be one of {', '.join(OPERATIONS)}.")
    if not isinstance(item["input"], dict):
        yield FieldProblem(f"{at}/input", "input must be an object with the operands and options.")
        return
    for name, value in item["input"].items():
        if not isinstance(value, str):
            yield FieldProblem(f"{at}/input{pointer_step(name)}", f"{shown(name)} must be a number or a string.")


def _request(name: str, given: dict[str, str]) -> Request | PycalcError:
    """Return one calculation's request; its operands leave ``given``, what remains are options."""
    operation = OPERATIONS[name]
    try:
        literals = tuple([given.pop(parameter.name) for parameter in operation.parameters])
        return name, literals, options_of(operation, given) if given else DEFAULT_OPTIONS
    except KeyError as missing:
        operand = missing.args[0]
        return InvalidInput.of(FieldProblem(f"/{operand}", f"{operand} is missing: it is required."))
    except InvalidInput as error:
        return error
