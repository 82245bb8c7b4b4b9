"""Sentences for validation errors, which tell what was wrong, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.formats import EXPECTED
from pycalc.models.json_text import pointer_step, shown

# What an input is called, by the first step of a validation error's location.
_PARTS = {
    "body": "member",
    "query": "query parameter",
    "path": "path parameter",
    "header": "header field",
    "argument": "argument",  # of a tool of language models
}
_NOT_A_STRING = "{name} must be a string."
_NO_OBJECT = "{name} must be a JSON object."
_SENTENCES = {
    "missing": "{name} is missing: it is required.",
    "extra_forbidden": "There is no {part} {name}: leave it out, or correct its name.",
    "string_too_long": "{name} must have at most {max_length:,} characters.",
    "string_type": _NOT_A_STRING,
    "string_unicode": _NOT_A_STRING,
    "model_attributes_type": _NO_OBJECT,
    "model_type": _NO_OBJECT,
    EXPECTED: "{name} must be {what}.",
}
_OTHERWISE = "{name} is not of the documented form: see /docs for what is expected."


def invalid_input(found: Iterable[Any]) -> InvalidInput:
    """Return the InvalidInput for the errors that pydantic's validation has found."""
    return InvalidInput.of(*map(_problem, found))


def _problem(entry: Any) -> FieldProblem:
    part, *steps = entry["loc"]
    pointer = "".join(pointer_step(str(step)) for step in steps)
    if not steps and entry["type"] == "missing":
        return FieldProblem("", "The body is missing: send a JSON object.")
    context = entry.get("ctx", {})
    name = shown(str(steps[-1])) if steps else "The body"
    if entry["type"] == "value_error":  # from this project's validators, whose messages follow the name
        return FieldProblem(pointer, f"{name} {context['error']}.")
    form = _SENTENCES.get(entry["type"], _OTHERWISE)
    return FieldProblem(pointer, form.format(name=name, part=_PARTS.get(part, "parameter"), **context))
