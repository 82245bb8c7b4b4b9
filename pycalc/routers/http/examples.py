"""Examples of responses, for the OpenAPI document: real calculations, and others that are made from their schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pycalc import __version__
from pycalc.models.audit import AUDIT_EXAMPLE
from pycalc.models.history import HISTORY_EXAMPLE
from pycalc.models.json_text import json_literal
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, Request, make_plan
from pycalc.services.compute.worker import execute
from pycalc.services.operations import CALCULATIONS

ID = HISTORY_EXAMPLE["id"]
_TIME = HISTORY_EXAMPLE["created_at"]
_MOST_DIGITS = 25_000_000

CALCULATED = {*CALCULATIONS, "calculate"}  # ids of the operations whose response is one calculation


def _calculated(request: Request) -> dict[str, Any]:
    plan = make_plan(_MOST_DIGITS, *request)
    text, facts = execute(plan.task)
    return {
        "id": ID,
        "operation": request[0],
        "input": json.loads(plan.input),
        "result": json.loads(json_literal((text or b"").decode())),
        "digits": int(facts.digits),
        "exact": facts.exact,
        "cached": False,
        "elapsed_ms": 0.278,
    }


def _request(operation_id: str) -> Request:
    """Return the example request of an operation that calculates."""
    if operation_id == "calculate":
        return "pow", ("2", "0.5"), Options(precision=30)
    operation = CALCULATIONS[operation_id]
    operands = tuple(parameter.example for parameter in operation.parameters)
    return operation_id, operands, Options(operation.default_precision)


def digits_of(operation_id: str) -> str:
    """Return the bare digits of the example result of an operation that calculates."""
    text, _ = execute(make_plan(_MOST_DIGITS, *_request(operation_id)).task)
    return (text or b"").decode()


# Examples by the name of a schema or a member that has none of its own, or by the names of both (``Schema.member``).
_VALUES: Mapping[str, Any] = {
    "HistoryItem": HISTORY_EXAMPLE,
    "AuditItem": AUDIT_EXAMPLE,
    "EvaluationPreview": {
        "expression": "3^(10^12)",
        "call": {"operation": "pow", "input": {"x": 3, "y": 1_000_000_000_000}},
        "digits": 477_121_254_720,
        "exact": True,
        "seconds": 269_237.0,
        "limit": _MOST_DIGITS,
        "timeout": 30.0,
        "too_large": True,
    },
    "username": "ada",
    "email": "ada@example.com",
    "quota": {"rate_limit": "60/minute; 1000/day", "compute": "300s/hour", "digits": "5GB/day", "history": 100_000},
    "limits": {"rate_limit": "60/minute; 1000/day", "compute": "10s/hour", "digits": "100MB/day"},
    "scopes": ["calculate"],
    "prefix": "pck_AZqrEnwA",
    "key": "pck_AZqrEnwA...",
    "last_used_from": "192.0.2.7",
    "address": "192.0.2.7",
    "client": "(X11; Linux x86_64) Chrome/130.0.0.0 Safari/537.36",
    "access_token": "eyJhbGciOiJIUzI1NiJ9...",
    "expires_in": 900,
    "Session.refresh_token": "pcr_AZqrEnwA...",
    "token": "pcp_AZqrEnwA...",
    "link": "/#password-reset=pcp_AZqrEnwA...",
    "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "uri": "otpauth://totp/pycalc:ada?secret=JBSW...&issuer=pycalc",
    "recovery_codes": ["abcd-efgh-ijkl-mnop-qrst-uvwx"],
    "version": __version__,
    "operation": "fibonacci",
    "digits": 21,
    "compute_ms": 2.401,
    "count": 1,
    "calculations": 1,
    "expires_at": "2027-11-29T20:37:04.072Z",
    "next_cursor": None,
    "role": "user",
    "checks": {"database": {"ok": True, "latency_ms": 0.313}, "cache": {"ok": True, "latency_ms": 0.006}},
    "database_queues": {"read": 0, "reserved": 0, "write": 0},
    "compute_workers": 2,
    "disk_free_bytes": 25_144_438_784,
    "disk_reserve_bytes": 268_435_456,
    "origin": "outbox",
    "reason": "the broker refuses the event: its message is too large",
    "content": json.dumps({"specversion": "1.0", "id": ID, "type": "pycalc.operation.completed.v1"}),
    "ApiKey.name": "nightly report",
    "CreatedApiKey.name": "nightly report",
    "CreatedApiKey.last_used_at": None,
    "CreatedApiKey.last_used_from": None,
    "CreatedPasswordReset.expires_at": "2026-11-29T21:37:04.072Z",
    "DeadLetterItem.id": 1,
    "HistoryPage.next_cursor": "AQGiKQaJ2XeJjPvliNN-_jQ",
    "OpenSession.current": True,
    "QuotaItem.name": "compute",
    "limit": 300,
    "used": 0.5,
    "remaining": 299.5,
    "window": 3_600,
    "resets_at": "2026-11-29T21:00:00.000Z",
    "Index.name": "pycalc",
    "operations": list(CALCULATIONS),
    "docs": "/docs",
    "openapi": "/openapi.json",
    "health": "/health",
    "SignIn.password": True,
    "provider": None,
}
_OF_FORMAT = {"uuid": ID, "date-time": _TIME, "date": "2026-11-29"}
_OF_TYPE = {"boolean": False, "integer": 0, "number": 0.0}


def example_of(operation_id: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Return the example of an operation's JSON response. The references in its ``schema`` are names of ``schemas``."""
    if operation_id in CALCULATED:
        return _calculated(_request(operation_id))
    if operation_id == "calculateBatch":
        half = _calculated(("pow", ("2", "-1"), DEFAULT_OPTIONS))
        residue = _calculated(("fibonacci", ("1000",), Options(modulus="97")))
        return {"results": [half, residue]}
    return _made(schema, schemas)


def _made(schema: Mapping[str, Any], schemas: Mapping[str, Any], owner: str = "", name: str = "") -> Any:
    """Return an example of the schema ``name``, or of the member ``name`` of the schema ``owner``.

    Prefer the value of ``owner.name`` in _VALUES, then the schema's own example, then the value of ``name`` in _VALUES.
    """
    if (qualified := f"{owner}.{name}") in _VALUES:
        return _VALUES[qualified]
    own = [schema[kind] for kind in ("example", "const") if kind in schema]
    own += [schema[kind][0] for kind in ("examples", "enum") if kind in schema]
    if own or name in _VALUES:
        return own[0] if own else _VALUES[name]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _made(schemas[name], schemas, name=name)
    if "anyOf" in schema:
        return _made(schema["anyOf"][0], schemas)
    if "items" in schema:
        return [_made(schema["items"], schemas)]
    if "properties" in schema:
        return {
            name: _made(member, schemas, schema["title"], name)
            for name, member in schema["properties"].items()
            if name in schema.get("required", ()) or "const" in member or f"{schema['title']}.{name}" in _VALUES
        }
    return _OF_FORMAT[schema["format"]] if "format" in schema else _OF_TYPE[schema["type"]]
