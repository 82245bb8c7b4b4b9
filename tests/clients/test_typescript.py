"""The TypeScript client's generated types; `make check-api` builds the client and runs its tests with Node.js."""

from __future__ import annotations

from deploy.api.typescript import TYPES, header


def test_types_are_those_of_the_document() -> None:
    """The types were made of today's schemas and problem types; else ``make client-types`` makes them anew."""
    assert TYPES.read_text().startswith(header())
