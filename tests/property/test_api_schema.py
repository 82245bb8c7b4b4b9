"""Responses to random valid and invalid requests: each fits the OpenAPI document, and none has status 500."""

from __future__ import annotations

from copy import deepcopy
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

from tests.harness.accounts import Person, new_person
from tests.harness.in_process import openapi_document
from tests.harness.servers import Server


def no_internal_error(_context: object, response: schemathesis.Response, _case: object) -> None:
    """Fail if the status is 500; 503 and 504 are allowed, because random operands may be expensive."""
    assert response.status_code != httpx.codes.INTERNAL_SERVER_ERROR, response.text


LONGEST = 1_000  # characters of a parameter
CHECKS = [no_internal_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def person(server: Server) -> Person:
    """Register a new account for each operation, because some operations end the session."""
    with httpx.Client(base_url=server.url) as client:
        return new_person(client)


def document_with_short_parameters() -> dict[str, Any]:
    """Return the OpenAPI document, with each ``maxLength`` of a parameter above 1,000 lowered to 1,000.

    A URL with an operand of a million characters takes its sender seconds to encode. ``make check-api`` sends them.
    """
    document = deepcopy(openapi_document())
    for operation in (operation for item in document["paths"].values() for operation in item.values()):
        for parameter in operation.get("parameters", ()):
            if parameter["schema"].get("maxLength", 0) > LONGEST:
                parameter["schema"]["maxLength"] = LONGEST
    return document


DOCUMENT = document_with_short_parameters()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{method.upper()} {path}": SCHEMA[path][method]
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path != "/events"  # the event stream never ends, so other tests cover it
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_what_the_document_says(name: str, server: Server, person: Person) -> None:
    """Valid and invalid requests get a response with a documented status, media type and schema.

    Few requests of each operation are enough here, because ``make check-api`` sends as many as fit into a minute. Each
    operation has its own test id, because pytest-xdist runs only the first of several tests with the same id.
    """
    valid, invalid = (OPERATIONS[name].as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    @given(case=valid | invalid)
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=server.url, headers=person.headers, checks=CHECKS, timeout=30)

    check()
