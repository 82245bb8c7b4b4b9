"""The generated types of the TypeScript client, whose own tests ``make check-api`` runs with Node.js."""

from __future__ import annotations

from deploy.api.typescript import TYPES, header


def test_types_are_those_of_the_document() -> None:
    """The generated types begin with the digest of the current schemas. If this fails, run ``make client-types``."""
    assert TYPES.read_text().startswith(header())
