"""Responses to random requests that fit the OpenAPI document: no 5xx, no undocumented status or body."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pycalc.main import create_app
from pycalc.settings import Settings
from tests.harness.accounts import Person, new_person
from tests.harness.servers import Server


def no_internal_error(_context: object, response: schemathesis.Response, _case: object) -> None:
    """Fail for an internal error. Refusals with 503 and 504 are documented: random operands may be expensive."""
    assert response.status_code != httpx.codes.INTERNAL_SERVER_ERROR, response.text


CHECKS = [no_internal_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def person(server: Server) -> Person:
    """Register a caller for each operation, because some operations end the session."""
    with httpx.Client(base_url=server.url) as client:
        return new_person(client)


DOCUMENT = create_app(Settings()).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{method.upper()} {path}": SCHEMA[path][method]
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path != "/events"  # The event stream never ends, so other tests cover it.
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_what_the_document_says(name: str, server: Server, person: Person) -> None:
    """Valid and invalid requests get a response with a documented status and form.

    A few requests for each operation are enough here: ``make check-api`` sends as many as fit into a minute. Each
    operation has a test id of its own, because pytest-xdist runs only the first of several tests with one id.
    """
    valid, invalid = (OPERATIONS[name].as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=valid | invalid)
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=server.url, headers=person.headers, checks=CHECKS, timeout=30)

    check()
