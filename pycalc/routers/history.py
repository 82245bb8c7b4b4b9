"""The history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from pycalc.models.history import HistoryPage
from pycalc.routers.deps import CallerDep, ResourcesDep
from pycalc.routers.problems import responses
from pycalc.services.operations import OPERATIONS

if TYPE_CHECKING:
    OperationName = str
else:
    OperationName = Literal[tuple(OPERATIONS)]

router = APIRouter(tags=["history"])


@router.get(
    "/secure-history",
    response_model=HistoryPage,
    responses=responses("validation-error", "unauthorized", "forbidden", "unavailable"),
)
async def secure_history(
    caller: CallerDep,
    resources: ResourcesDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="calculations in a page")] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")] = None,
    operation: Annotated[OperationName | None, Query(description="only this operation")] = None,
    since: Annotated[AwareDatetime | None, Query(description="from this moment on (RFC 3339)")] = None,
    until: Annotated[AwareDatetime | None, Query(description="before this moment (RFC 3339)")] = None,
    user: Annotated[str | None, Query(max_length=32, description="only this user's (admins)")] = None,
) -> Response:
    """Return calculations, newest first: one's own; an admin sees everyone's."""
    page = await resources.history.page(
        caller,
        limit=limit,
        cursor=cursor,
        operation=operation,
        since=since,
        until=until,
        user=user,
    )
    return Response(page, media_type="application/json", headers={"Cache-Control": "private, no-store"})
