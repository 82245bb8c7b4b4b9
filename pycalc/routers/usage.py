"""Usage totals, and the caller's quotas."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from pycalc.models.formats import GivenDay
from pycalc.models.usage import UsageReport
from pycalc.routers.http.calculations import rate_limits_of
from pycalc.routers.http.deps import ResourcesDep, UsageReadDep
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.inputs import StrictQuery, StrictRoute
from pycalc.routers.http.openapi import headers

router = APIRouter(tags=["history"], route_class=StrictRoute)


class UsageQuery(StrictQuery):
    """The filters of the usage totals."""

    since: GivenDay | None = Field(None, description="from this day on, UTC")
    until: GivenDay | None = Field(None, description="before this day, UTC")
    user: str | None = Field(
        None, max_length=36, description="only the totals of this user, by name or id; admins only"
    )


@router.get(
    "/usage",
    operation_id="getUsage",
    response_model=UsageReport,
    responses={200: {"headers": headers("RateLimit", "RateLimit-Policy")}},
)
async def usage(caller: UsageReadDep, resources: ResourcesDep, query: Annotated[UsageQuery, Query()]) -> Response:
    """Return the caller's quotas, and usage totals by day and operation.

    The totals are counted from the event stream. An admin gets those of all users, or only those of `user`.
    """
    response = Response(await resources.usage.report(caller, **dict(query)), media_type="application/json")
    rates = [
        state for limit, identity in rate_limits_of(caller, resources) for state in await limit.limit_states(identity)
    ]
    response.raw_headers += rate_limit_fields([*rates, *resources.quotas.limit_states(caller)])
    return response
