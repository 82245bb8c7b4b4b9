"""Audit log entries for refused requests: user, address, kind of credential and reason, but never a secret."""

from __future__ import annotations

from starlette.types import Scope

from pycalc.models.auth import Principal
from pycalc.observability.requests import context_of
from pycalc.routers.http.deps import address_of, bearer_token, resources_of, route_of
from pycalc.services.accounts.api_keys import PREFIX

AUDITED = frozenset({401, 403, 429})  # statuses


def _credential(scope: Scope, caller: Principal | None) -> str:
    """Return the kind of a request's credential, valid or not."""
    if caller is not None:
        return "key" if caller.is_key else "session"
    token = bearer_token(scope)
    if token:
        return "key" if token.startswith(PREFIX.encode()) else "token"
    named = any(name == b"x-bootstrap-token" for name, _ in scope["headers"])
    return "bootstrap token" if named else "none"


def audit_refusal(scope: Scope, status: int, reason: str) -> None:
    """Write a refusal to the audit log."""
    resources = resources_of(scope)
    context = context_of(scope)
    caller = context.caller
    tried = {} if context.tried is None else {"tried": context.tried}
    resources.refusal_log.refused(
        caller.username if caller else None,
        status=status,
        method=scope["method"],
        route=route_of(scope) or "(none)",
        reason=reason,
        credential=_credential(scope, caller),
        address=address_of(scope, resources),
        **tried,
    )
