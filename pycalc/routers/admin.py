"""Routes for admins who operate the service: the audit log, the dead letters and the state of the service."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from pycalc import __version__
from pycalc.models.audit import AUDIT_CSV_HEADER, AUDIT_EXAMPLE, AuditFilter, AuditPage
from pycalc.models.auth import KeyScope
from pycalc.models.formats import PageLimit
from pycalc.models.ids import cursor_id
from pycalc.models.service import DeadLetterPage, Overview
from pycalc.routers.history import export_responses
from pycalc.routers.http.deps import AdminDep, AdminReaderDep, ResourcesDep, caller_of
from pycalc.routers.http.exports import VARY, Cursor, Since, Until, export_response
from pycalc.routers.http.headers import next_link
from pycalc.routers.http.inputs import JSON, StrictQuery, StrictRoute
from pycalc.routers.http.negotiation import conditions_of, preferred
from pycalc.routers.http.openapi import NO_CONTENT, headers
from pycalc.routers.http.problem_types import responses
from pycalc.services.history.exports import AUDIT_FORMATS

_EXAMPLE = (
    "01a22906-91f3-712d-8684-c226048b9bdd,2026-11-29T20:37:06.164Z,account changed,root,ada,198.51.100.7,done,"
    '"{""changed"": {""disabled"": true}}"\r\n'
)

router = APIRouter(prefix="/admin", tags=["admin"], route_class=StrictRoute)


class AuditQuery(StrictQuery):
    """The filters of a page or an export of the audit log."""

    limit: PageLimit = Field(50, description="the most entries in a page or an export; by default, an export has all")
    cursor: Cursor = None
    actor: str | None = Field(None, max_length=254, description="only what this user did")
    action: str | None = Field(None, max_length=64, description="only this action, such as `key created`")
    subject: str | None = Field(None, max_length=254, description="only what was done to this account")
    since: Since = None
    until: Until = None


@router.get(
    "/audit",
    response_model=AuditPage,
    responses=export_responses("AuditItem", AUDIT_EXAMPLE, "details", AUDIT_CSV_HEADER + _EXAMPLE),
)
async def list_audit(
    request: Request, caller: AdminReaderDep, resources: ResourcesDep, query: Annotated[AuditQuery, Query()]
) -> Response:
    """Return the audit log, newest first (admins only). PYCALC_AUDIT_RETENTION determines how long entries are kept."""
    selection = AuditFilter(query.actor, query.action, query.subject, query.since, query.until)
    media_type = preferred(conditions_of(request.scope).accept, (JSON, *AUDIT_FORMATS)) or JSON
    if media_type == JSON:
        with resources.response_memory.acquire(caller.user_id, query.limit * 2_048):  # bytes for each entry
            text, following = await resources.audit.page(selection, query.cursor, query.limit)
        return Response(text, headers={**VARY, **next_link(request.scope, following)}, media_type=JSON)

    async def require_rights() -> None:
        await resources.accounts.require_admin(await caller_of(request.scope, resources, KeyScope.ADMIN_READ))

    layout = AUDIT_FORMATS[media_type]
    limit = query.limit if "limit" in query.model_fields_set else None
    read = partial(resources.audit.entries, selection)
    pages = resources.exports.records(caller, require_rights, read, layout, cursor_id(query.cursor), limit)
    return await export_response(request.scope, pages, media_type, layout, "audit")


class DeadLettersQuery(StrictQuery):
    """The length and the start of a page of dead letters."""

    limit: PageLimit = Field(50, description="dead letters in a page")
    cursor: str | None = Field(None, max_length=18, pattern="^[0-9]+$", description="`next_cursor` of the page before")


@router.get("/dead-letters", responses={200: {"headers": headers("Link")}, **responses("overloaded")})
async def list_dead_letters(
    request: Request,
    response: Response,
    caller: AdminReaderDep,
    resources: ResourcesDep,
    query: Annotated[DeadLettersQuery, Query()],
) -> DeadLetterPage:
    """Return the events that could not be delivered or read, the oldest first (admins only)."""
    with resources.response_memory.acquire(caller.user_id, query.limit * 16_384):  # bytes for each of them
        items = await resources.dead_letters.items(int(query.cursor or 0), query.limit + 1)
    following = str(items[query.limit - 1]["id"]) if len(items) > query.limit else None
    response.headers.update(next_link(request.scope, following))
    return {"items": items[: query.limit], "next_cursor": following}


LetterNumber = Annotated[int, Path(ge=1, le=2**63 - 1, description="the dead letter's id")]


@router.post("/dead-letters/{number}/requeue", **NO_CONTENT, responses=responses("not-found"))
async def requeue_dead_letter(number: LetterNumber, caller: AdminDep, resources: ResourcesDep) -> None:
    """Publish the event of a dead letter again, if the history still has its calculation (admins only)."""
    await resources.dead_letters.requeue(number, caller.username)


@router.delete("/dead-letters/{number}", **NO_CONTENT, responses=responses("not-found"))
async def discard_dead_letter(number: LetterNumber, caller: AdminDep, resources: ResourcesDep) -> None:
    """Delete a dead letter, which can't be requeued afterwards (admins only)."""
    await resources.dead_letters.discard(number, caller.username)


@router.get("/overview", operation_id="getOverview")
async def overview(_: AdminReaderDep, resources: ResourcesDep) -> Overview:
    """Return the running processes with their key figures, and the health of the dependencies (admins only)."""
    return {
        "version": __version__,
        **await resources.health.get(),
        "dead_letters": await resources.dead_letters.size(),
        "instances": await resources.instances.items(),
    }
