"""The caller's open sessions."""

from __future__ import annotations

from fastapi import APIRouter

from pycalc.models.auth import OpenSession, Principal, StoredSession
from pycalc.models.ids import text_of_id
from pycalc.models.times import timestamp
from pycalc.routers.http.deps import CallerDep, IdInPath, ResourcesDep, id_in_path
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import NO_CONTENT
from pycalc.routers.http.problem_types import responses

router = APIRouter(tags=["accounts"], route_class=StrictRoute)


def _session(session: StoredSession, caller: Principal) -> OpenSession:
    device = session.device
    return OpenSession(
        id=text_of_id(session.id),
        opened_at=timestamp(session.created_ms),
        last_used_at=timestamp(session.used_ms),
        address=device and device.address,
        client=(device and device.client) or None,
        current=session.id == caller.credential_id,
    )


@router.get("/me/sessions")
async def list_sessions(caller: CallerDep, resources: ResourcesDep) -> list[OpenSession]:
    """Return one's own open sessions, at most 100, the most recently used first."""
    return [_session(session, caller) for session in await resources.authenticator.sessions_of(caller)]


@router.delete("/me/sessions/{session_id}", **NO_CONTENT, responses=responses("not-found"))
async def end_session(caller: CallerDep, session_id: IdInPath, resources: ResourcesDep) -> None:
    """End a session of one's own.

    Its access and refresh tokens are refused at once by the process that answers, and within seconds by the others.
    """
    await resources.authenticator.end_session(caller, id_in_path(session_id, "session"))
