"""The tools as models see them: names, descriptions, schemas and annotations, made from the registry of operations."""

from __future__ import annotations

from typing import Any

from mcp.types import Tool, ToolAnnotations

from pycalc.mcp.backend import BATCH, DIGITS, HISTORY, MOST_ITEMS
from pycalc.models.math import MAX_BATCH
from pycalc.services.calculations.planning import options_with_meanings
from pycalc.services.operations import CALCULATIONS, OPERATIONS
from pycalc.services.operations.base import Calculable

INSTRUCTIONS = (
    "Exact arithmetic with integers and fractions of any size. Use it for every calculation whose digits matter; "
    "prefer `evaluate`, which does a whole expression in one call. Write numbers as strings. Results are exact "
    "unless `exact` is false. Of a long result you get both ends, its length and its SHA-256: `digits` reads the rest."
)
_SYNTAX = f"""Evaluate an expression exactly, in one call. Syntax:
numbers: 42, 2.5, 1e6, 0xFF, 1_000; operators: + - * / // % ^ (or **) ! and parentheses
residues of huge powers: 3^(10^12) mod 10^20 is fast; put a sum into parentheses: (a + b) mod m
functions: {", ".join(name for name in OPERATIONS)}, abs, floor, ceil, round, min, max
series: sum(i, 1, 100, i^2), prod(i, 1, 9, i); one comparison, as the whole expression: 2^10 > 10^3 gives true or false
results: an integer, a decimal or p/q; an irrational value needs `precision`, its number of significant digits"""
_ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_RESULT: dict[str, Any] = {
    "id": {"type": "string", "description": "the calculation's id, for the tool digits"},
    "result": {"type": "string", "description": "the whole result; absent when it is long, or a summary"},
    "digits": {"type": "string", "description": "the number of digits"},
    "exact": {"type": "boolean", "description": "false: rounded, or a root with a remainder"},
    "leading": {"type": "string", "description": "the first 20 digits of a long result or a summary"},
    "trailing": {"type": "string", "description": "the last 20 digits of a long result or a summary"},
    "sha256": {"type": "string", "description": "SHA-256 of a long result's text"},
}


def make_tools(most_inline: int) -> dict[str, Tool]:
    """Return all tools by name, the most useful one first. The tool ``digits`` reads up to ``most_inline`` digits."""
    tools = [_calculation(CALCULATIONS["evaluate"], _SYNTAX)]
    for operation in OPERATIONS.values():
        example = ", ".join(f'{parameter.name}: "{parameter.example}"' for parameter in operation.parameters)
        tools.append(_calculation(operation, f"{operation.description} Example: {{{example}}}."))
    tools += [_batch(), _digits(most_inline), _history()]
    return {tool.name: tool for tool in tools}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required]}


def _tool(name: str, title: str, description: str, given: dict[str, Any], output: dict[str, Any]) -> Tool:
    return Tool(
        name=name,
        title=title,
        description=description,
        input_schema={**given, "additionalProperties": False},
        output_schema=output,
        annotations=_ANNOTATIONS,
    )


def _calculation(operation: Calculable[Any], description: str) -> Tool:
    """Return the tool of an operation, or of ``evaluate``, with the options that it takes."""
    given: dict[str, Any] = {
        parameter.name: {"type": "string", "description": parameter.description, "examples": [parameter.example]}
        for parameter in operation.parameters
    }
    for name, meaning in options_with_meanings(operation).items():
        given[name] = {"type": "string", "description": meaning}
    if "view" in given:
        given["view"]["enum"] = ["full", "summary"]
    operands = _object(given, *(parameter.name for parameter in operation.parameters))
    output = _object(_RESULT, "id", "digits", "exact")
    return _tool(operation.name, operation.title, description, operands, output)


def _batch() -> Tool:
    operands = {
        "type": "object",
        "description": "the operands and options by name",
        "additionalProperties": {"type": "string"},
    }
    operation = {"type": "string", "enum": [*CALCULATIONS]}
    item = {**_object({"operation": operation, "input": operands}, "operation", "input"), "additionalProperties": False}
    operations = {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_BATCH}
    answer = {"type": "object", "properties": {**_RESULT, "error": {"type": "string"}}}
    output = _object({"results": {"type": "array", "items": answer}}, "results")
    description = (
        f"Do up to {MAX_BATCH:,} calculations in one call, answered in order, each by its result or by an error. "
        'Example: {operations: [{operation: "gcd", input: {a: "1071", b: "462"}}]}.'
    )
    return _tool(BATCH, "Batch", description, _object({"operations": operations}, "operations"), output)


def _digits(most_inline: int) -> Tool:
    given = {
        "id": {"type": "string", "description": "the id of the calculation"},
        "start": {"type": "integer", "minimum": 0, "description": "the first character's place, from 0 (default 0)"},
        "count": {"type": "integer", "minimum": 1, "maximum": most_inline, "description": "how many characters"},
    }
    properties = {"text": {"type": "string"}, "start": {"type": "integer"}, "total": {"type": "integer"}}
    description = "Read a part of the result of an earlier calculation, such as digits of a long one, by its id."
    return _tool(DIGITS, "Digits of a result", description, _object(given, "id"), _object(properties, *properties))


def _history() -> Tool:
    given = {
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "description": "how many (default 10)"},
        "cursor": {"type": "string", "description": "next_cursor of the page before"},
        "operation": {"type": "string", "enum": [*CALCULATIONS]},
        "since": {"type": "string", "description": "from this moment on (RFC 3339)"},
        "until": {"type": "string", "description": "before this moment (RFC 3339)"},
        "user": {"type": "string", "description": "only the calculations of this user, by name or id; admins only"},
    }
    item = {"type": "object", "properties": {**_RESULT, "operation": {"type": "string"}, "input": {"type": "object"}}}
    properties = {"items": {"type": "array", "items": item}, "next_cursor": {"type": "string"}}
    description = "List the calculations of your account, newest first (an admin: everyone's)."
    return _tool(HISTORY, "History", description, _object(given), _object(properties, "items"))
