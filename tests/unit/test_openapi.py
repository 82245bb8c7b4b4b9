"""The OpenAPI document: the properties on which client generators and other tools rely."""

from __future__ import annotations

import csv
import inspect
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from io import StringIO
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pycalc import errors
from pycalc.routers.http.openapi import SCHEMAS
from pycalc.services.operations import OPERATIONS
from tests.harness.in_process import openapi_document

METHODS = {"get", "put", "post", "delete", "patch"}
OPERATION_IDS = {
    "GET /fibonacci/{n}": "fibonacci",
    "GET /pow/{x}/{y}": "pow",
    "POST /batch": "calculateBatch",
    "POST /login": "logIn",
    "POST /logout-all": "logOutAll",
    "GET /me/keys": "listKeys",
    "GET /me/sessions": "listSessions",
    "DELETE /me/sessions/{session_id}": "endSession",
    "DELETE /me": "deleteAccount",
    "DELETE /users/{username}/sessions": "endSessions",
    "POST /users/{username}/password-reset": "createPasswordReset",
    "POST /password-reset": "resetPassword",
    "GET /me/keys/{key_id}": "getKey",
    "GET /secure-history": "listHistory",
}
FORMATS = {("integer", "int64"), ("number", "double")}
PUBLIC = {
    *("logIn", "refreshToken", "resetPassword"),
    *("getIndex", "getHealth", "getReadiness", "getMetrics"),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return openapi_document()


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in a node, including the node itself."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    """Each ``$ref`` is a JSON pointer to an existing part of the document."""
    references = [node["$ref"] for node in objects(document) if "$ref" in node]
    assert len(references) > 50
    for reference in references:
        root, *steps = reference.split("/")
        assert root == "#"
        found: Any = document
        for step in steps:
            assert step in found, reference
            found = found[step]


def test_every_operation_id_is_short(document: dict[str, Any]) -> None:
    """Operation ids are unique names in camelCase, because client generators name functions after them."""
    ids = {name: operation["operationId"] for name, operation in operations(document).items()}
    assert {name: ids[name] for name in OPERATION_IDS} == OPERATION_IDS
    assert len(set(ids.values())) == len(ids)
    assert [name for name in ids.values() if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)] == []


def test_every_number_has_a_width(document: dict[str, Any]) -> None:
    """Integers have the format int64 and other numbers double; without a format, Go generators use 32 bits."""
    numbers = [node for node in objects(document) if node.get("type") in ("integer", "number")]
    widths = {(node["type"], node.get("format")) for node in numbers}
    assert widths == FORMATS


def test_every_body_is_of_a_named_schema(document: dict[str, Any]) -> None:
    """Each JSON body, or each item of an array, has a named schema, so that client generators need not invent names."""
    for name, operation in operations(document).items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media_type, content in (pair for body in bodies for pair in body.get("content", {}).items()):
            schema = content["schema"]
            if media_type.endswith("json") and media_type != "application/x-ndjson":
                assert "$ref" in schema.get("items", schema), (name, media_type)


def test_every_request_has_an_example(document: dict[str, Any]) -> None:
    """The schema of each JSON request body has an example."""
    schemas = document["components"]["schemas"]
    names = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for operation in operations(document).values()
        if "requestBody" in operation
    ]
    assert len(names) > 10
    assert [name for name in names if "example" not in schemas[name]] == []


def answers(document: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield the operation, the status, the media type and its content, for each media type of each response."""
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                yield name, status, media_type, content


def test_no_idempotency_key_is_proposed(document: dict[str, Any]) -> None:
    """Idempotency-Key has no example, because the documentation page would send the same key with each request."""
    keys = [
        parameter
        for item in document["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    ]
    assert [{"example", "examples"} & key.keys() for key in keys] == [set()] * 3


def examples_of(content: dict[str, Any]) -> list[Any]:
    """Return the examples of a media type: those in ``examples``, and ``example``."""
    several = [each["value"] for each in content.get("examples", {}).values()]
    return several + [content[name] for name in ("example",) if name in content]


def test_every_answer_has_an_example(document: dict[str, Any]) -> None:
    """Each media type of each response has an example of the whole body."""
    found = [*answers(document)]
    assert {status for _, status, _, _ in found} >= {
        "200",
        "201",
        "206",
        "401",
        "404",
        "422",
        "429",
        "500",
        "503",
        "504",
    }
    assert [(name, status, kind) for name, status, kind, content in found if not examples_of(content)] == []


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    """The examples of schemas and of response bodies are valid against their schemas."""
    components = document["components"]
    examples = [
        ({"$ref": f"{SCHEMAS}{name}"}, schema["example"])
        for name, schema in components["schemas"].items()
        if "example" in schema
    ]
    for _, _, _, content in answers(document):
        examples += [(content["schema"], example) for example in examples_of(content)]
    assert len(examples) > 400
    for schema, example in examples:
        Draft202012Validator({**schema, "components": components}).validate(example)


def test_examples_of_problems_are_those_of_their_type(document: dict[str, Any]) -> None:
    """Each example of a problem document has the type, the status and the title of the error that it illustrates."""
    titles = {
        kind.code: kind.title
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.PycalcError)
    }
    for name, status, media_type, content in answers(document):
        if media_type == "application/problem+json":
            for slug, example in content["examples"].items():
                problem = example["value"]
                assert problem["type"] == f"/docs/problems#{slug}", name
                assert str(problem["status"]) == status, name
                assert problem["title"] == titles[slug], name


def test_examples_of_answers_agree_with_what_they_describe(document: dict[str, Any]) -> None:
    """A new key has not been used, a reset link is valid for an hour, and a page that is not the last has a cursor."""
    found = {
        name: content["example"]
        for name, status, media_type, content in answers(document)
        if media_type == "application/json" and status in ("200", "201")
    }
    key = found["POST /me/keys"]
    assert (key["last_used_at"], key["last_used_from"]) == (None, None)
    assert found["POST /users/{username}/password-reset"]["expires_at"] == "2026-11-29T21:37:04.072Z"
    assert found["GET /secure-history"]["next_cursor"]
    assert found["GET /admin/dead-letters"]["items"][0]["id"] == 1
    assert found["GET /me/sessions"][0]["current"]
    assert found["GET /usage"]["quotas"][0]["resets_at"] == "2026-11-29T21:00:00.000Z"


_POSTED = (("calculations", "201"), ("evaluate", "200"))


def test_examples_of_calculations_are_true(document: dict[str, Any]) -> None:
    """Examples have the right results for their operands; a history item's example has its result's SHA-256."""
    found = {name: operation["responses"] for name, operation in operations(document).items()}
    fibonacci = found["GET /fibonacci/{n}"]
    calculated = fibonacci["200"]["content"]["application/json"]["example"]
    assert (calculated["input"], calculated["result"]) == ({"n": 100}, "354224848179261915075")
    assert fibonacci["200"]["content"]["text/plain"]["example"] == "354224848179261915075"
    assert fibonacci["206"]["content"]["text/plain"]["example"] == "3542"
    evaluated = found["POST /evaluate"]["200"]["content"]["application/json"]["example"]
    assert evaluated["input"] == {"expression": "3^(10^12) mod 10^20"}
    assert evaluated["result"] == str(pow(3, 10**12, 10**20))
    posted = found["POST /calculations"]["201"]["content"]["application/json"]["example"]
    assert posted["input"] == {"x": 2, "y": "0.5", "precision": 30}
    assert (posted["result"], posted["exact"]) == ("1.41421356237309504880168872421", False)
    texts = [found[f"POST /{path}"][status]["content"]["text/plain"] for path, status in _POSTED]
    assert [each["example"] for each in texts] == [posted["result"], evaluated["result"]]
    item = found["GET /calculations/{calculation_id}"]["200"]["content"]["application/json"]["example"]
    assert (item["input"], item["result"]) == (calculated["input"], calculated["result"])
    assert item["sha256"] == sha256(item["result"].encode()).hexdigest()


def test_examples_of_exports_and_events_can_be_read(document: dict[str, Any]) -> None:
    """The example NDJSON lines and the example event contain a valid item; each CSV row has a cell for each column."""
    item = Draft202012Validator({"$ref": f"{SCHEMAS}HistoryItem", "components": document["components"]})
    entry = Draft202012Validator({"$ref": f"{SCHEMAS}AuditItem", "components": document["components"]})
    for name, validator in (("GET /secure-history", item), ("GET /admin/audit", entry)):
        content = operations(document)[name]["responses"]["200"]["content"]
        validator.validate(json.loads(content["application/x-ndjson"]["example"]))
        header, row = csv.reader(StringIO(content["text/csv"]["example"]))
        assert len(row) == len(header)
    event = operations(document)["GET /events"]["responses"]["200"]["content"]["text/event-stream"]["example"]
    identity, data, *end = event.split("\n")
    found = json.loads(data.removeprefix("data: "))
    assert (identity, end) == (f"id: {found['id']}", ["", ""])
    item.validate(found["data"])


def test_a_login_is_documented_in_one_form(document: dict[str, Any]) -> None:
    """The login documents only a JSON body, because generators fail with two media types."""
    assert list(operations(document)["POST /login"]["requestBody"]["content"]) == ["application/json"]


def test_a_result_of_a_batch_may_be_a_problem(document: dict[str, Any]) -> None:
    """The schema of a batch's results allows a problem in place of a calculation."""
    choices = document["components"]["schemas"]["BatchResult"]["anyOf"]
    assert {"$ref": "#/components/schemas/Problem"} in choices


def test_no_schema_collides_with_a_constructor(document: dict[str, Any]) -> None:
    """No schema is named NewX if another is named X, because Go clients generate a function NewX for X."""
    schemas = document["components"]["schemas"]
    assert [name for name in schemas if f"New{name}" in schemas] == []


def test_every_schema_of_a_component_has_a_description(document: dict[str, Any]) -> None:
    """Each schema in the document's components has a description."""
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []


def test_every_operation_says_who_may_call_it(document: dict[str, Any]) -> None:
    """Every operation declares its authentication: none, a session (required or optional), or a session or an API key.

    Only operations that calculate accept an API key in the URL.
    """
    session: dict[str, list[str]] = {"OAuth2PasswordBearer": []}
    found = {operation["operationId"]: operation["security"] for operation in operations(document).values()}
    assert {name for name, security in found.items() if not security} == PUBLIC
    assert found["register"] == [session, {}]
    assert found["logOut"] == found["createKey"] == found["changeUser"] == [session]
    keys: list[dict[str, list[str]]] = [{"apiKey": []}, {"apiKeyBasic": []}]
    assert found["listHistory"] == [session, *keys]
    assert {name for name, security in found.items() if {"apiKeyQuery": []} in security} == {
        *OPERATIONS,
        *("calculate", "calculateBatch", "evaluate", "previewEvaluation"),
    }
    schemes = document["components"]["securitySchemes"]
    assert schemes["apiKey"].items() >= {"type": "http", "scheme": "bearer"}.items()
    assert schemes["apiKeyBasic"].items() >= {"type": "http", "scheme": "basic"}.items()
    assert schemes["apiKeyQuery"].items() >= {"type": "apiKey", "in": "query", "name": "key"}.items()


def test_every_operation_for_keys_says_its_scope(document: dict[str, Any]) -> None:
    """If an operation accepts API keys, its description names the scope that a key needs, and 403 is documented."""
    described = {}
    for operation in operations(document).values():
        scopes = re.findall(r"An API key needs the scope `([a-z:]+)`", operation["description"])
        assert len(scopes) == ({"apiKey": []} in operation["security"]), operation["operationId"]
        if scopes:
            assert "403" in operation["responses"], operation["operationId"]
            described[operation["operationId"]] = scopes[0]
    assert {described[name] for name in (*OPERATIONS, "evaluate")} == {"calculate"}
    assert (described["getDigits"], described["listKeys"], described["listUsers"]) == (
        "history:read",
        "account:read",
        "admin:read",
    )


def test_servers_and_tags_are_described(document: dict[str, Any]) -> None:
    """The document names its server and describes each tag of an operation."""
    assert document["servers"][0]["url"] == "/"
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {tag for operation in operations(document).values() for tag in operation["tags"]} == described


def test_every_operation_documents_the_problems_of_its_method_its_body_and_its_caller(document: dict[str, Any]) -> None:
    """Each operation documents the problem types to which its method, request body and authentication may lead."""
    for name, operation in operations(document).items():
        contents = [response.get("content", {}) for response in operation["responses"].values()]
        found = {
            slug
            for content in contents
            for slug in content.get("application/problem+json", {"examples": ()})["examples"]
        }
        assert found >= {"bad-request", "method-not-allowed", "internal-error"}, name
        if not name.startswith("GET "):
            assert "precondition-failed" in found, name
        if "requestBody" in operation:
            assert found >= {"validation-error", "request-timeout", "payload-too-large", "unsupported-media-type"}, name
        if operation["security"]:
            assert found >= {"validation-error", "unauthorized", "forbidden", "unavailable"}, name


def test_every_operation_tells_of_header_fields(document: dict[str, Any]) -> None:
    """401, 405 and 429 document their header fields, such as Retry-After; results document ETag and others."""
    for name, operation in operations(document).items():
        responses = operation["responses"]
        assert "Allow" in responses["405"]["headers"], name
        if "401" in responses:
            assert "WWW-Authenticate" in responses["401"]["headers"], name
        if "429" in responses:
            assert "Retry-After" in responses["429"]["headers"], name
    results = operations(document)["GET /factorial/{n}"]["responses"]
    assert results["200"]["headers"].keys() >= {"ETag", "Repr-Digest", "RateLimit"}
    assert "Content-Range" in results["206"]["headers"]


def test_the_console_is_documented(document: dict[str, Any]) -> None:
    """``GET /`` documents its JSON and HTML responses with an ETag, and the statuses 304 and 412."""
    responses = operations(document)["GET /"]["responses"]
    assert responses["200"]["content"].keys() == {"application/json", "text/html"}
    assert "ETag" in responses["200"]["headers"]
    assert responses.keys() >= {"304", "412"}


def test_every_parameter_is_bounded(document: dict[str, Any]) -> None:
    """Every text parameter has a maximum length, a format or a list of values; no parameter may be null."""
    for name, operation in operations(document).items():
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            assert "anyOf" not in schema, (name, parameter["name"])
            if schema.get("type") == "string":
                assert schema.keys() & {"maxLength", "format", "enum"}, (name, parameter["name"])


def test_every_text_in_a_body_is_bounded(document: dict[str, Any]) -> None:
    """Each text in a request body, except operands, has a maximum length or a list of values.

    An operand that is too long makes only its own calculation fail, not the whole batch.
    """
    schemas = document["components"]["schemas"]
    pending = [operation["requestBody"] for operation in operations(document).values() if "requestBody" in operation]
    seen = {"Operand"}
    while pending:
        for node in objects(pending.pop()):
            name = node.get("$ref", "").rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                pending.append(schemas[name])
            if node.get("type") == "string":
                assert node.keys() & {"maxLength", "enum"}, (seen, node)
    assert {"Registration", "BatchItem"} <= seen


@pytest.mark.parametrize(
    ("schema", "member", "expected"),
    [
        ("Account", "id", "uuid"),
        ("Account", "created_at", "date-time"),
        ("ApiKey", "created_at", "date-time"),
        ("Calculation", "id", "uuid"),
        ("Summary", "id", "uuid"),
        ("HistoryItem", "id", "uuid"),
        ("HistoryItem", "created_at", "date-time"),
        ("UsageItem", "day", "date"),
    ],
)
def test_texts_of_a_known_form_say_so(document: dict[str, Any], schema: str, member: str, expected: str) -> None:
    """Ids and times have a format, so that generated clients have types for them."""
    assert document["components"]["schemas"][schema]["properties"][member]["format"] == expected
