"""Requests for calculations, read from bodies of HTTP requests and from recorded calculations.

Numbers in bodies are read as strings, so that they keep all their digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput, NotFound, PycalcError
from pycalc.models.history import HistoryRow
from pycalc.models.json_text import number_literal, pointer_step, read_json, shown
from pycalc.models.math import MAX_BATCH
from pycalc.services.calculations.planning import ABBREVIATED, Options, Request, options_of
from pycalc.services.operations import CALCULATIONS, OPERATIONS
from pycalc.services.operations.base import Calculable

NO_DIGITS = "This calculation is a summary, which has no digits: ask for it without view=summary."

_OPTIONS = ("mod", "view", "precision", "base")
_MOST_COMMAS = 1_000  # more values take longer to parse than two operands of full length, and block the event loop
_FORM = 'The body must be {"operation": ..., "input": {...}}, with mod, view, precision and base where they are wanted.'


class _Number(str):
    """The text of a number in the body of ``POST /evaluate``. The type distinguishes it from a JSON string."""


def read_evaluation(body: bytes) -> Request:
    """Return the request in the body of ``POST /evaluate``. Raises InvalidInput with JSON pointers."""
    document = read_json(body, lambda number: _Number(number_literal(number)))
    if not isinstance(document, dict):
        raise InvalidInput.of(FieldProblem("", 'The body must be {"expression": "..."}, with an optional precision.'))
    expression = document.pop("expression", None)
    if not isinstance(expression, str) or isinstance(expression, _Number):
        detail = 'expression must be a string such as "3^(10^12) mod 10^20".'
        raise InvalidInput.of(FieldProblem("/expression", detail))
    if wrong := [name for name, value in document.items() if not isinstance(value, _Number)]:
        raise InvalidInput.of(*(FieldProblem(pointer_step(name), f"{shown(name)} must be a number.") for name in wrong))
    return "evaluate", (expression,), options_of(CALCULATIONS["evaluate"], document)


def read_calculation(body: bytes) -> Request:
    """Return the request in the body of ``POST /calculations``. Raises InvalidInput with JSON pointers."""
    if body.count(b",") > _MOST_COMMAS:
        raise InvalidInput.of(FieldProblem("", _FORM))
    document = read_json(body, number_literal)
    if not isinstance(document, dict) or not {"operation", "input"} <= document.keys():
        raise InvalidInput.of(FieldProblem("", _FORM))
    options = {name: document[name] for name in _OPTIONS if name in document}
    problems = [_unknown("", name) for name in document if name not in ("operation", "input", *_OPTIONS)]
    problems += [*_calculation_problems("", document, OPERATIONS), *_not_literals("", options)]
    if problems:
        raise InvalidInput.of(*problems)
    name, operands = document["operation"], document["input"]
    known = {parameter.name for parameter in OPERATIONS[name].parameters}
    if unknown := [_unknown("/input", operand) for operand in operands if operand not in known]:
        raise InvalidInput.of(*unknown)
    try:
        return _request(name, {**operands, **options})
    except InvalidInput as error:
        raise into_input(error, name) from None


def into_input(error: InvalidInput, operation: str) -> InvalidInput:
    """Return a copy of ``error`` whose pointers to operands begin with ``/input``: ``/n`` becomes ``/input/n``."""
    operands = {f"/{parameter.name}" for parameter in OPERATIONS[operation].parameters}
    problems = (
        problem._replace(pointer=f"/input{problem.pointer}") if problem.pointer in operands else problem
        for problem in error.problems
    )
    return InvalidInput(error.detail, tuple(problems))


def recorded_request(row: HistoryRow) -> Request | None:
    """Return the request of a recorded calculation, or None if the history has abbreviated an operand or an option.

    Raises NotFound for a recorded summary, because it has no full result.
    """
    given = {name: str(value) for name, value in json.loads(row.input).items()}
    if given.get("view") == "summary":
        raise NotFound(NO_DIGITS)
    if any(ABBREVIATED in value for value in given.values()):
        return None
    operation = CALCULATIONS[row.operation]
    literals = tuple([given.pop(parameter.name) for parameter in operation.parameters])
    return row.operation, literals, options_of(operation, given)


def named_request(name: str, given: Mapping[str, Any]) -> Request:
    """Return the request for the operation ``name``. ``given`` has its operands and options. Raises InvalidInput."""
    if problems := list(_not_literals("", given)):
        raise InvalidInput.of(*problems)
    return _request(name, dict(given))


def read_batch(body: bytes) -> list[Request | PycalcError]:
    """Return the requests in the body of a batch. Raises InvalidInput as ``read_json`` and ``batch_requests`` do."""
    return batch_requests(read_json(body, number_literal, 4 * MAX_BATCH))  # twice as many objects as the items need


def batch_requests(document: object) -> list[Request | PycalcError]:
    """Return the requests of a batch from its JSON document.

    For an item that lacks an operand or has an invalid option, the list has an InvalidInput instead. Raises
    InvalidInput, with JSON pointers, if the document or an item has the wrong structure.
    """
    if not isinstance(document, dict) or document.keys() != {"operations"}:
        raise InvalidInput.of(FieldProblem("", 'A batch must be {"operations": [...]}, with no other member.'))
    items = document["operations"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise InvalidInput.of(FieldProblem("/operations", f"operations must be a list of 1 to {MAX_BATCH:,} items."))
    problems: list[FieldProblem] = []
    for index, item in enumerate(items):
        at = f"/operations/{index}"
        if isinstance(item, dict) and item.keys() == {"operation", "input"}:
            problems += _calculation_problems(at, item, CALCULATIONS)
        else:
            form = 'An item must be {"operation": ..., "input": {...}}, with no other member.'
            problems.append(FieldProblem(at, form))
    if problems:
        raise InvalidInput.of(*problems)
    requests: list[Request | PycalcError] = []
    for item in items:
        try:
            requests.append(_request(item["operation"], item["input"]))
        except InvalidInput as error:
            requests.append(error)
    return requests


def _calculation_problems(at: str, item: Any, known: Mapping[str, Calculable[Any]]) -> Iterator[FieldProblem]:
    """Yield the problems with ``operation`` and ``input`` in ``item``, the object at the JSON pointer ``at``."""
    if not isinstance(item["operation"], str) or item["operation"] not in known:
        yield FieldProblem(f"{at}/operation", f"operation must be one of {', '.join(known)}.")
    if isinstance(item["input"], dict):
        yield from _not_literals(f"{at}/input", item["input"])
    else:
        yield FieldProblem(f"{at}/input", "input must be an object with the operands and options.")


def _not_literals(at: str, given: Mapping[str, Any]) -> Iterator[FieldProblem]:
    """Yield a problem for each member that is not a string. ``read_json`` has converted numbers to strings."""
    for name, value in given.items():
        if not isinstance(value, str):
            yield FieldProblem(f"{at}{pointer_step(name)}", f"{shown(name)} must be a number or a string.")


def _unknown(at: str, name: str) -> FieldProblem:
    detail = f"There is no member {shown(name)}: leave it out, or correct its name."
    return FieldProblem(f"{at}{pointer_step(name)}", detail)


def _request(name: str, given: dict[str, str]) -> Request:
    """Return a request with the operands and options in ``given``, from which the operands are removed.

    Raises InvalidInput if an operand is missing or an option is invalid.
    """
    operation = CALCULATIONS[name]
    try:
        literals = tuple([given.pop(parameter.name) for parameter in operation.parameters])
    except KeyError as missing:
        operand = missing.args[0]
        raise InvalidInput.of(FieldProblem(f"/{operand}", f"{operand} is missing: it is required.")) from None
    return name, literals, options_of(operation, given) if given else Options(operation.default_precision)
