"""Numbers in JSON, without the models: worker processes import it."""

from __future__ import annotations

LARGEST_JSON_INTEGER = 2**53 - 1
_SAFE_LENGTH = len(str(LARGEST_JSON_INTEGER)) + 1


def json_literal(text: str) -> str:
    """Return a result's text as JSON: an integer bare where every reader keeps it exactly, else quoted.

    RFC 7493 §2.2: integers beyond ±(2^53 - 1) are not interoperable as JSON numbers.
    """
    if len(text) <= _SAFE_LENGTH and text.lstrip("-").isdigit() and abs(int(text)) <= LARGEST_JSON_INTEGER:
        return text
    return f'"{text}"'
