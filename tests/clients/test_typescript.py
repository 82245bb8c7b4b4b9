"""The generated types of the TypeScript client, whose own tests ``make check-api`` runs with Node.js."""

from __future__ import annotations

import json
from pathlib import Path

import pycalc_client

from deploy.api.typescript import TYPES, header
from pycalc import __version__

PACKAGE = Path(__file__).parents[2] / "clients" / "typescript" / "package.json"


def test_the_clients_have_the_version_of_the_service() -> None:
    """The service and both clients are released together, under one version."""
    assert json.loads(PACKAGE.read_text())["version"] == pycalc_client.__version__ == __version__


def test_types_are_those_of_the_document() -> None:
    """The TypeScript types are generated from the API's current schemas. If this fails, run ``make client-types``."""
    assert TYPES.read_text().startswith(header())
