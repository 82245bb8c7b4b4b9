"""Examples of real answers, for the OpenAPI document. The tests compare them with the schemas."""

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

ID = "01a22906-89c8-7645-876f-c70985c56e80"
_TIME = "2026-11-29T20:37:04.072Z"
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


_STATES = {"database": {"ok": True, "latency_ms": 0.313}, "cache": {"ok": True, "latency_ms": 0.006}}
_ACCOUNT = {
    "id": "01a22906-847c-77c9-9d9a-64781add2c0c",
    "username": "ada",
    "email": "ada@example.com",
    "role": "user",
    "totp": False,
    "created_at": _TIME,
}
_KEY_LIMITS = {"rate_limit": None, "compute": None, "digits": None}
_USER_ACCOUNT = {**_ACCOUNT, "disabled": False, "quota": {**_KEY_LIMITS, "history": None}}
_TODAY = {"calculations": 6, "digits": 115, "compute_ms": 2.401}
_KEY = {
    "id": "01a22906-89bd-75b5-bed2-a956426a4f1e",
    "name": "nightly report",
    "prefix": "pck_5DwX65Rz",
    "created_at": _TIME,
    "expires_at": "2027-11-29T20:37:04.072Z",
    "scopes": ["calculate"],
    "allow_query": False,
    "limits": _KEY_LIMITS,
    "last_used_at": None,
    "last_used_from": None,
}
# Secrets are abbreviated, so that no scanner takes them for real ones.
_OF_RESET = "pcp_Txp4y0Vr..."
_OF_APP = "EYY6QYIRGBP7SX4S..."
_INSTANCE = {
    "id": "613db974-6d51-4c01-8751-6bfe82cb615e",
    "command": "serve",
    "version": __version__,
    "started_at": "2026-11-29T20:36:28.858Z",
    "seen_at": _TIME,
    "figures": {
        "connections": 3,
        "event_subscribers": 1,
        "compute_workers": 2,
        "computing": 0,
        "compute_waiting": 0,
        "database_queues": {"read": 0, "reserved": 0, "write": 0},
        "recorder_rows": 0,
        "audit_waiting": 0,
        "outbox_backlog": 0,
        "outbox_oldest_seconds": 0.0,
        "relay_leading": True,
        "cache_circuit": "closed",
        "disk_free_bytes": 25144438784,
        "disk_reserve_bytes": 268435456,
    },
}
_DEAD_LETTER = {
    "id": 1,
    "stage": "relay",
    "event_id": ID,
    "origin": "outbox",
    "reason": "the broker refuses the event: its message is too large",
    "content": json.dumps({"specversion": "1.0", "id": ID, "type": "pycalc.operation.completed.v1"}),
    "created_at": _TIME,
}
_TOTAL = {"day": "2026-11-29", "operation": "fibonacci", "count": 3, "cached": 1, "digits": 63, "compute_ms": 0.767}
_QUOTA = {
    "name": "compute",
    "limit": 300,
    "used": 0.000611,
    "remaining": 299.999389,
    "window": 3600,
    "resets_at": "2026-11-29T21:00:00.000Z",
}
# The answers that need no calculation, by the name of their schema.
_ANSWERS: Mapping[str, Any] = {
    "Account": _ACCOUNT,
    "ApiKey": _KEY,
    "AuditPage": {"items": [AUDIT_EXAMPLE], "next_cursor": None},
    "CreatedApiKey": {**_KEY, "key": "pck_5DwX65Rz..."},
    "CreatedPasswordReset": {
        "token": _OF_RESET,
        "link": f"/#password-reset={_OF_RESET}",
        "expires_at": "2026-11-29T21:37:04.072Z",
    },
    "DeadLetterPage": {"items": [_DEAD_LETTER], "next_cursor": None},
    "EvaluationPreview": {
        "expression": "3^(10^12) mod 10^20",
        "digits": 21,
        "exact": True,
        "too_large": False,
        "limit": _MOST_DIGITS,
        "seconds": 8.015887740192717e-05,
        "timeout": 30.0,
    },
    "HistoryItem": HISTORY_EXAMPLE,
    "HistoryPage": {"items": [HISTORY_EXAMPLE], "next_cursor": "AQGiKQaJ2XeJjPvliNN-_jQ", "role": "user"},
    "Index": {
        "name": "pycalc",
        "version": __version__,
        "operations": list(CALCULATIONS),
        "docs": "/docs",
        "openapi": "/openapi.json",
        "health": "/health",
        "sign_in": {"password": True, "provider": None},
    },
    "Liveness": {"status": "ok"},
    "OpenSession": {
        "id": "01a22906-896a-756e-8a5c-531eaccdd188",
        "opened_at": "2026-11-29T20:37:03.978Z",
        "last_used_at": _TIME,
        "address": "192.0.2.7",
        "client": "python-httpx/0.28.1",
        "current": True,
    },
    "Overview": {
        "version": __version__,
        "status": "ok",
        "checks": _STATES,
        "dead_letters": 0,
        "instances": [_INSTANCE],
    },
    "Readiness": {"status": "ok", "checks": _STATES},
    "RecoveryCodes": {"recovery_codes": ["4m2z-jpbk-oetv-72wc-icnk-7r6g", "u2cs-zlgi-xz3a-uh3s-gyag-25lx"]},
    "Session": {
        "access_token": "eyJhbGciOiJIUzI1NiIs...",
        "token_type": "bearer",
        "expires_in": 900,
        "refresh_token": "pcr_AaIpBolq...",
    },
    "TotpSecret": {"secret": _OF_APP, "uri": f"otpauth://totp/pycalc:ada?secret={_OF_APP}&issuer=pycalc"},
    "UsageReport": {"items": [_TOTAL], "quotas": [_QUOTA]},
    "UserAccount": _USER_ACCOUNT,
    "UserPage": {"items": [{**_USER_ACCOUNT, "last_sign_in_at": _TIME, "today": _TODAY}], "next_cursor": None},
}


def of_answer(operation_id: str, schema: Mapping[str, Any]) -> Any:
    """Return the example of an operation's JSON response, which has the schema ``schema``."""
    if operation_id in CALCULATED:
        return _calculated(_request(operation_id))
    if operation_id == "calculateBatch":
        half = _calculated(("pow", ("2", "-1"), DEFAULT_OPTIONS))
        residue = _calculated(("fibonacci", ("1000",), Options(modulus="97")))
        return {"results": [half, residue]}
    if "items" in schema:
        return [of_answer(operation_id, schema["items"])]
    return _ANSWERS[schema["$ref"].rpartition("/")[2]]
