"""Whatever fits the OpenAPI document is answered as the document says: no 5xx, no undocumented status or body."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pycalc.main import create_app
from pycalc.settings import Settings
from tests.services.accounts import Person, new_person
from tests.services.servers import Server

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def person(server: Server) -> Person:
    """Register the caller."""
    with httpx.Client(base_url=server.url) as client:
        return new_person(client)


# the event stream never ends, so it has tests of its own
schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi()).exclude(path="/events")


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_are_what_the_document_says(case: schemathesis.Case[Any], server: Server, person: Person) -> None:
    """Valid and invalid requests alike get a documented answer of the documented form."""
    case.call_and_validate(base_url=server.url, headers=person.headers, checks=CHECKS, timeout=30)
