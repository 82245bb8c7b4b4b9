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
_SENTENCES = {
    "missing": "{name} is missing: it is required.",
    "extra_forbidden": "There is no {part} {name}: leave it out, or correct its name.",
    "string_too_long": "{name} must have at most {max_length:,} characters.",
    **dict.fromkeys(("string_type", "string_unicode"), "{name} must be a string."),
    **dict.fromkeys(("model_attributes_type", "model_type"), "{name} must be a JSON object."),
    EXPECTED: "{name} must be {what}.",
}
_OTHERWISE = "{name} is not of the documented form: see /docs for what is expected."


def invalid_input(found: Iterable[Any]) -> InvalidInput:
    """Return the InvalidInput for the errors that pydantic's validation has found."""
    problems = []
    for entry in found:
        part, *steps = entry["loc"]
        context, form = entry.get("ctx", {}), _SENTENCES.get(entry["type"], _OTHERWISE)
        if not steps and entry["type"] == "missing":
            form = "The body is missing: send a JSON object."
        elif entry["type"] == "value_error":  # from this project's validators, whose messages follow the name
            form = "{name} {error}."
        name = shown(str(steps[-1])) if steps else "The body"
        detail = form.format(name=name, part=_PARTS.get(part, "parameter"), **context)
        problems.append(FieldProblem("".join(pointer_step(str(step)) for step in steps), detail))
    return InvalidInput.of(*problems)
