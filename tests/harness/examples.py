"""Functions that extract the documents' examples, and the output that each example should print."""

from __future__ import annotations

import re

_VARIABLE = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r"pck_(?:[\w-]{43}|\.\.\.)", "KEY"),
    (r'"elapsed_ms":[\d.]+', "ELAPSED"),
    (r'"cached":(?:true|false)', "CACHED"),  # may be true, because another example may have computed the same before
    (r'"next_cursor":"[\w-]+"', "CURSOR"),
]


def normalized(text: str) -> str:
    """Replace the parts of an output that differ between runs."""
    for pattern, name in _VARIABLE:
        text = re.sub(pattern, name, text)
    return text


def blocks(text: str, language: str) -> list[str]:
    """Return the code of the fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shown(code: str) -> list[str]:
    """Return the lines that an example should print, from its comments that begin with an arrow."""
    return re.findall(r"(?:#|//) → (.*)$", code, re.MULTILINE)
