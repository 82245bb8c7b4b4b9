"""Audit log entries for refused requests: user, address, kind of credential and reason, but never a secret."""

from __future__ import annotations

from starlette.types import Scope

from pycalc.observability.requests import context_of, header
from pycalc.routers.http.credentials import KEY_PREFIX, token_of
from pycalc.routers.http.deps import resources_of, route_of

AUDITED = frozenset({401, 403, 429})  # the statuses of refusals that are audited


def audit_refusal(scope: Scope, status: int, reason: str) -> None:
    """Write a refused request to the audit log. ``status`` is the status of its response."""
    resources, context = resources_of(scope), context_of(scope)
    caller, token = context.caller, token_of(scope)
    if caller is not None:
        credential = "key" if caller.is_key else "session"
    elif token:  # an invalid token
        credential = "key" if token.startswith(KEY_PREFIX) else "token"
    else:
        credential = "none" if header(scope, b"x-bootstrap-token") is None else "bootstrap token"
    tried = {} if context.tried is None else {"tried": context.tried}
    resources.refusal_log.refused(
        caller.username if caller else None,
        resources.addresses.of(scope),
        status=status,
        method=scope["method"],
        route=route_of(scope) or "(none)",
        reason=reason,
        credential=credential,
        **tried,
    )
