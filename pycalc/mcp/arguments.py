"""Conversion of the arguments of tools to requests. Numbers are strings, because many clients round JSON numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput, PycalcError
from pycalc.models.json_text import LARGEST_JSON_INTEGER, pointer_step, shown
from pycalc.services.calculations.planning import Request
from pycalc.services.calculations.requests import batch_requests


def batch_of(arguments: Mapping[str, Any]) -> list[Request | PycalcError]:
    """Return the requests in the arguments of ``batch``, with an error in place of an invalid one, or InvalidInput."""
    operations = arguments.get("operations")
    if isinstance(operations, list):
        operations = operations.copy()
        for place, item in enumerate(operations):
            if isinstance(item, dict) and isinstance(item.get("input"), dict):
                operations[place] = {**item, "input": literals(f"/operations/{place}/input", item["input"])}
    return batch_requests({**arguments, "operations": operations})


def literals(at: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the strings and integers in ``given``, the object at the JSON pointer ``at``, as strings, without nulls.

    Raises InvalidInput for other values, and for integers beyond ±(2^53 - 1), which a JSON reader may have rounded.
    """
    found = {}
    for name, value in given.items():
        if isinstance(value, str):
            found[name] = value
        elif type(value) is int and abs(value) <= LARGEST_JSON_INTEGER:
            found[name] = str(value)
        elif value is not None:
            detail = f'{shown(name)} must be a string such as "100": a number may have been rounded on its way.'
            raise InvalidInput.of(FieldProblem(f"{at}{pointer_step(name)}", detail))
    return found


def range_of(arguments: Mapping[str, Any], most: int) -> tuple[str, int, int]:
    """Return id, start and count, at most ``most``, in the arguments of the tool ``digits``. Raises InvalidInput."""
    given = literals("", arguments)
    if unknown := given.keys() - {"id", "start", "count"}:
        name = min(unknown)
        raise InvalidInput.of(FieldProblem(pointer_step(name), f"There is no argument {shown(name)}: leave it out."))
    if "id" not in given:
        raise InvalidInput.of(FieldProblem("/id", "id is missing: it is the id of an earlier calculation."))
    return given["id"], whole(given, "start", 0, 0, 10**12), whole(given, "count", most, 1, most)


def whole(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a whole number in an argument, or ``default``. Raises InvalidInput outside ``least`` to ``most``."""
    text = given.get(name, str(default))
    if text.isascii() and text.isdigit() and len(text) <= 13 and least <= int(text) <= most:
        return int(text)
    raise InvalidInput.of(FieldProblem(f"/{name}", f"{name} must be a whole number from {least} to {most:,}."))
