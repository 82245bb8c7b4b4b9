"""The history: pages and exports."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from pycalc.models.auth import KeyScope
from pycalc.models.formats import PageLimit, expected
from pycalc.models.history import CSV_HEADER, HISTORY_EXAMPLE, HistoryPage
from pycalc.routers.http.deps import HistoryReadDep, ResourcesDep, caller_of
from pycalc.routers.http.exports import VARY, Cursor, Since, Until, export_response
from pycalc.routers.http.headers import next_link
from pycalc.routers.http.inputs import JSON, StrictQuery, StrictRoute
from pycalc.routers.http.negotiation import conditions_of, preferred
from pycalc.routers.http.openapi import headers
from pycalc.routers.http.problem_types import responses
from pycalc.services.history.exports import EXPORT_FORMATS
from pycalc.services.history.reader import HistorySelection
from pycalc.services.operations import CALCULATIONS

if TYPE_CHECKING:
    OperationName = str
else:
    OperationName = Literal[tuple(CALCULATIONS)]

ROW_BYTES = 4_096  # memory that a page needs for a calculation; nearly all need less


def export_responses(item: str, example: object, json_column: str, csv: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entry of a page that has exports. ``item`` is the schema of an item, ``csv`` an example."""
    lines = {"type": "string", "description": f"each line is one {item}"}
    table = {"type": "string", "description": f"RFC 4180, with a header line; `{json_column}` is JSON text"}
    page = {
        "headers": headers("Link"),
        "description": "A page; with `Accept: application/x-ndjson` or `text/csv` all items, streamed. An export that "
        "is broken off has no last chunk; `cursor` continues it from the last item's id.",
        "content": {
            "application/x-ndjson": {"schema": lines, "example": json.dumps(example, separators=(",", ":")) + "\n"},
            "text/csv": {"schema": table, "example": csv},
        },
    }
    return {200: page, **responses("overloaded")}


_EXAMPLE = (
    '01a22906-89c8-7645-876f-c70985c56e80,fibonacci,"{""n"":100}",354224848179261915075,21,true,35422484817926191507,'
    "54224848179261915075,9f3cd0550139d594df1a95c59b7cac2469e3f594ead276485b23a5016f09e830,false,0.278,ada,"
    "2026-11-29T20:37:04.072Z\r\n"
)

router = APIRouter(tags=["history"], route_class=StrictRoute)


class HistoryQuery(StrictQuery):
    """The filters of a page or an export of the history."""

    limit: PageLimit = Field(
        50, description="the most calculations in a page or an export; by default, an export has all"
    )
    cursor: Cursor = None
    operation: Annotated[
        OperationName | None, Field(description="only this operation"), expected(f"one of {', '.join(CALCULATIONS)}")
    ] = None
    since: Since = None
    until: Until = None
    user: str | None = Field(
        None, max_length=36, description="only the calculations of this user, by name or id; admins only"
    )


@router.get(
    "/secure-history",
    operation_id="listHistory",
    response_model=HistoryPage,
    responses={
        **export_responses("HistoryItem", HISTORY_EXAMPLE, "input", CSV_HEADER + _EXAMPLE),
        **responses("quota-exceeded"),
    },
)
async def secure_history(
    request: Request, caller: HistoryReadDep, resources: ResourcesDep, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """Return the caller's calculations, newest first. An admin gets those of all users, or only those of `user`."""
    wanted = HistorySelection(query.cursor, query.operation, query.since, query.until, query.user)
    media_type = preferred(conditions_of(request.scope).accept, (JSON, *EXPORT_FORMATS)) or JSON
    if media_type == JSON:
        with resources.response_memory.acquire(caller.user_id, query.limit * ROW_BYTES):
            text, next_cursor = await resources.history.page(caller, wanted, query.limit)
        return Response(text, headers={**VARY, **next_link(request.scope, next_cursor)}, media_type=JSON)
    layout = EXPORT_FORMATS[media_type]
    limit = query.limit if "limit" in query.model_fields_set else None
    identify = partial(caller_of, request.scope, resources, KeyScope.HISTORY_READ)
    pages = resources.exports.export(identify, wanted, layout, limit)
    return await export_response(request.scope, pages, media_type, layout, "history")
