"""The history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pycalc.models.history import HistoryPage
from pycalc.routers.deps import CallerDep, ResourcesDep
from pycalc.routers.problems import responses
from pycalc.services.operations import OPERATIONS

if TYPE_CHECKING:
    OperationName = str
else:
    OperationName = Literal[tuple(OPERATIONS)]

router = APIRouter(tags=["history"])


class HistoryQuery(BaseModel):
    """The selection of a page; anything else is refused: a misspelt filter must not select more."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000, description="calculations in a page")] = 50
    cursor: Annotated[str | None, Field(max_length=64, description="`next_cursor` of the page before")] = None
    operation: Annotated[OperationName | None, Field(description="only this operation")] = None
    since: Annotated[AwareDatetime | None, Field(description="from this moment on (RFC 3339)")] = None
    until: Annotated[AwareDatetime | None, Field(description="before this moment (RFC 3339)")] = None
    user: Annotated[str | None, Field(max_length=32, description="only this user's (admins)")] = None


@router.get(
    "/secure-history",
    response_model=HistoryPage,
    responses=responses("validation-error", "unauthorized", "forbidden", "unavailable"),
)
async def secure_history(
    caller: CallerDep, resources: ResourcesDep, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """Return calculations, newest first: one's own; an admin sees everyone's."""
    page = await resources.history.page(caller, **dict(query))
    return Response(page, media_type="application/json")
