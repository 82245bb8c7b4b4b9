"""Whatever fits the OpenAPI document is answered as the document says: no 5xx, no undocumented status or body."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pycalc.main import create_app
from pycalc.settings import Settings
from tests.harness.accounts import Person, new_person
from tests.harness.servers import Server

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def person(server: Server) -> Person:
    """Register a caller for each operation: some of them end its session."""
    with httpx.Client(base_url=server.url) as client:
        return new_person(client)


DOCUMENT = create_app(Settings()).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{method.upper()} {path}": SCHEMA[path][method]
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path != "/events"  # the event stream never ends, so it has tests of its own
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_what_the_document_says(name: str, server: Server, person: Person) -> None:
    """Valid and invalid requests alike get a documented answer of the documented form.

    Each operation is a test of its own name: of several tests of one name pytest-xdist runs only the first.
    """
    valid, invalid = (OPERATIONS[name].as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

    @settings(max_examples=24, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=valid | invalid)
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=server.url, headers=person.headers, checks=CHECKS, timeout=30)

    check()
